//! `unknot ls`: runs, the newest first.

use crate::{
    args::{Ls, Status},
    config::Config,
    error::Error,
    exit::Exit,
    looking::Looking,
    output::{Paint, run_tone},
    table::{Cell, Column, Table},
    terminal, time,
};
use serde_json::{Value, json};
use std::io::Write;
use unknot_engine::{
    Clock,
    core::{Timestamp, run::RunStatus},
    store::{RunFilter, RunSummary},
};

/// Columns of a terminal below which a table says less.
const ROOMY: usize = 60;

/// Lists runs.
pub(crate) fn perform(ls: &Ls, out: &mut dyn Write) -> Result<Exit, Error> {
    let config = Config::here(&ls.place)?;
    let mut looking = Looking::open(&config)?;
    let filter = RunFilter { status: ls.status.map(Into::into), workflow: ls.workflow.clone(), ..RunFilter::default() };
    let runs = looking.list(&filter, None, ls.limit)?;
    let now = Clock::starting_at_least(Timestamp::default()).now();
    if ls.json {
        for run in &runs {
            writeln!(out, "{}", as_json(run))?;
        }
    } else if runs.is_empty() {
        writeln!(out, "no such runs")?;
    } else {
        let columns = terminal::size().columns;
        table(&runs, now, columns >= ROOMY).write(out, Paint::for_stdout(), 0, columns)?;
    }
    Ok(Exit::Success)
}

fn table(runs: &[RunSummary], now: Timestamp, is_roomy: bool) -> Table {
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
            run.id.to_string().into(),
            run.workflow.as_str().into(),
            Cell::new(run_tone(run.status), format!("{}{held}", run.status)),
            time::length(run.ended_at.unwrap_or(now).since(run.submitted_at)).into(),
            time::ago(now, run.submitted_at).into(),
        ];
        row.truncate(shown);
        table.row(row);
    }
    table
}

fn as_json(run: &RunSummary) -> Value {
    json!({
        "run": run.id,
        "workflow": run.workflow,
        "status": run.status,
        "paused": run.paused,
        "submitted_at": run.submitted_at,
        "ended_at": run.ended_at,
        "client_id": run.client_id,
        "labels": run.labels,
        "source": run.source,
        "retry_of": run.retry_of,
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
