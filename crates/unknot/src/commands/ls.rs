//! `unknot ls`: runs, the newest first.

use super::list;
use crate::{
    args::{Ls, Status},
    error::{Error, eprint_quietly},
    exit::Exit,
    output::{Tone, run_tone},
    source::{Source, read_word, stamp},
    table::{Cell, Column, Table},
    terminal, time,
};
use serde_json::{Value, json};
use std::io::Write;
use unknot_api::rest;
use unknot_engine::{
    Clock,
    core::{Timestamp, run::RunStatus},
    store::RunFilter,
};

/// Columns of a terminal below which a table says less.
const ROOMY: usize = 60;

/// Lists runs.
pub(crate) fn perform(ls: &Ls, out: &mut dyn Write) -> Result<Exit, Error> {
    let mut source = Source::open(&ls.at)?;
    let filter = RunFilter { status: ls.status.map(Into::into), workflow: ls.workflow.clone(), ..RunFilter::default() };
    let mut runs = source.list(&filter, ls.limit.saturating_add(1))?;
    let has_more = runs.len() > ls.limit;
    runs.truncate(ls.limit);
    let now = Clock::starting_at_least(Timestamp::default()).now();
    let none = match (ls.status, &ls.workflow) {
        (None, None) => "runs",
        _ => "runs: none has that status or that workflow",
    };
    let told: Vec<Value> = runs.iter().map(as_json).collect();
    let exit = list::print(ls.json, &told, none, || table(&runs, now, terminal::size().columns >= ROOMY), out)?;
    if has_more && !ls.json {
        out.flush()?;
        // Beside the list, for whoever reads it: a program that takes it apart is not to meet a sentence.
        eprint_quietly(&format!("note: there are older ones: `--limit {}` shows more\n", ls.limit.saturating_mul(10)));
    }
    Ok(exit)
}

fn table(runs: &[rest::RunSummary], now: Timestamp, is_roomy: bool) -> Table {
    let columns = [
        // To be copied, so it is cut last.
        ("RUN", if is_roomy { Column::Whole } else { Column::Shrinks(12) }),
        ("WORKFLOW", Column::Shrinks(8)),
        ("STATUS", Column::Whole),
        ("TOOK", Column::Right),
        ("SUBMITTED", Column::Right),
    ];
    let shown = if is_roomy { columns.len() } else { columns.len() - 1 };
    let mut table = Table::new(&columns[..shown]);
    for run in runs {
        let held = if run.paused { " (held)" } else { "" };
        let mut row: Vec<Cell> = vec![
            run.run_id.as_str().into(),
            run.workflow_name.as_str().into(),
            Cell::new(tone_of(&run.status), format!("{}{held}", run.status)),
            time::length(run.ended_at.map_or(now, stamp).since(stamp(run.submitted_at))).into(),
            time::ago(now, stamp(run.submitted_at)).into(),
        ];
        row.truncate(shown);
        table.row(row);
    }
    table
}

/// The tone of a run's status; a word that this program does not know yet is plain.
pub(super) fn tone_of(status: &str) -> Tone {
    read_word(status).map_or(Tone::Plain, run_tone)
}

fn as_json(run: &rest::RunSummary) -> Value {
    json!({
        "run": run.run_id,
        "workflow": run.workflow_name,
        "status": run.status,
        "paused": run.paused,
        "submitted_at": run.submitted_at.ms,
        "ended_at": run.ended_at.map(|at| at.ms),
        "client_id": run.client_id,
        "labels": run.labels,
        "source": run.source,
        "retry_of": run.retry_of,
        "spawned_by": run.spawned_by,
    })
}

impl From<Status> for RunStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => Self::Pending,
            Status::Running => Self::Running,
            Status::Cancelling => Self::Cancelling,
            Status::Completed => Self::Completed,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
            Status::TimedOut => Self::TimedOut,
        }
    }
}
