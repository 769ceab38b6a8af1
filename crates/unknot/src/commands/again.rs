//! `unknot retry`, `decide`, `bulk`: once more, decided by a person, with many at once.

use crate::{
    args::{Action, Bulk, Decide, Retry, Verdict},
    error::{Error, eprint_quietly},
    exit::Exit,
    output::{count, harmless},
    remote::Remote,
    source::Source,
};
use serde_json::json;
use std::io::Write;
use unknot_api::rest::{BulkAction, BulkFilter, BulkRequest, Decision};

/// Takes a run further.
pub(crate) fn retry(retry: &Retry, out: &mut dyn Write) -> Result<Exit, Error> {
    let mut source = Source::Server(Box::new(Remote::find(&retry.at)?));
    let run = source.find(&retry.run)?.summary.run_id;
    let Source::Server(remote) = source else { return Ok(Exit::Success) };
    let asked = remote.client().retry(&run, retry.from_scratch);
    let created = remote.ask(format!("retry run `{run}`"), asked)?;
    if retry.json {
        writeln!(out, "{}", json!({"run": created.run_id, "status": created.status, "retry_of": run}))?;
    } else {
        writeln!(out, "{} takes {run} further", created.run_id)?;
        writeln!(out, "see `unknot show {}{}`", created.run_id, remote.option())?;
    }
    Ok(Exit::Success)
}

/// Says what becomes of a task that waits for a person.
pub(crate) fn decide(decide: &Decide, out: &mut dyn Write) -> Result<Exit, Error> {
    let remote = Remote::find(&decide.at)?;
    let (decision, told) = match decide.decision {
        Verdict::Retry => (Decision::Retry, "is tried again"),
        Verdict::Fail => (Decision::Fail, "counts as failed"),
    };
    let task = &decide.task;
    remote.ask(format!("decide about task `{task}`"), remote.client().decide(task, decision))?;
    writeln!(out, "{task} {told}")?;
    Ok(Exit::Success)
}

/// Does something with every run that is found, a thousand after the other.
pub(crate) fn bulk(bulk: &Bulk, out: &mut dyn Write) -> Result<Exit, Error> {
    let remote = Remote::find(&bulk.at)?;
    let mut request = request(bulk);
    let (mut matched, mut failed) = (0, 0);
    loop {
        let done = remote.ask("deal with many runs", remote.client().bulk(&request))?;
        matched += done.matched.len();
        failed += done.failed.len();
        if bulk.json {
            writeln!(out, "{}", json!(done))?;
        } else {
            for run in &done.matched {
                match (done.created.get(run), done.failed.get(run)) {
                    (Some(new), _) => writeln!(out, "{run}  taken further by {new}")?,
                    (None, Some(why)) => eprint_quietly(&format!("{run}: {}\n", harmless(why))),
                    (None, None) => writeln!(out, "{run}")?,
                }
            }
        }
        match done.next {
            Some(next) => request.after = Some(next),
            None => break,
        }
    }
    if !bulk.json {
        let what = match (bulk.dry_run, bulk.action) {
            (true, _) => "found; nothing was done",
            (false, Action::Cancel) => "being cancelled",
            (false, Action::Retry | Action::Redrive) => "taken further",
        };
        writeln!(out, "{} {what}", count((matched - failed) as u64, "run"))?;
    }
    Ok(if failed == 0 { Exit::Success } else { Exit::Failed })
}

fn request(bulk: &Bulk) -> BulkRequest {
    BulkRequest {
        action: match bulk.action {
            Action::Cancel => BulkAction::Cancel,
            Action::Retry => BulkAction::Retry,
            Action::Redrive => BulkAction::Redrive,
        },
        filter: BulkFilter {
            status: bulk.status.clone(),
            workflow: bulk.workflow.clone(),
            client_id: bulk.client_id.clone(),
            label: bulk.label.clone(),
            since: bulk.since,
            until: bulk.until,
        },
        dry_run: bulk.dry_run,
        reason: bulk.reason.clone(),
        after: None,
    }
}
