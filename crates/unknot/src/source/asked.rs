//! Lists that a server tells in parts.

use super::{PART, words::strange};
use crate::{error::Error, remote::Remote};
use unknot_api::{Moment, client::RunQuery, rest};
use unknot_engine::{
    core::{TaskId, TaskIndex, Timestamp, run::TaskStatus},
    store::RunFilter,
};

/// The newest runs that a query accepts.
pub(super) fn list(remote: &Remote, mut query: RunQuery, most: usize) -> Result<Vec<rest::RunSummary>, Error> {
    let mut found = Vec::new();
    while found.len() < most {
        query.limit = Some((most - found.len()).min(PART));
        let page = remote.ask("list the runs", remote.client().runs(&query))?;
        found.extend(page.items);
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    Ok(found)
}

/// A filter as the API has it.
pub(super) fn query(filter: &RunFilter) -> RunQuery {
    let moment = |at: Timestamp| Moment { ms: at.0 };
    RunQuery {
        status: filter.status.map(|status| status.word().to_owned()),
        workflow: filter.workflow.clone(),
        client_id: filter.client_id.clone(),
        label: filter.label.clone(),
        since: filter.since.map(moment),
        until: filter.until.map(moment),
        after: None,
        limit: None,
    }
}

/// Hands tasks of a run on, at most so many.
pub(super) fn each_task(
    remote: &Remote,
    run: &str,
    status: Option<TaskStatus>,
    most: usize,
    mut take: impl FnMut(TaskIndex, rest::Task),
) -> Result<(), Error> {
    let (mut after, mut left): (Option<String>, usize) = (None, most);
    while left > 0 {
        let asked = remote.client().tasks(run, status.map(TaskStatus::word), after.as_deref(), left.min(PART));
        let page = remote.ask("list the run's tasks", asked)?;
        left = left.saturating_sub(page.items.len());
        for task in page.items {
            take(place_of(&task)?, task);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(())
}

/// A task's place in its workflow.
fn place_of(task: &rest::Task) -> Result<TaskIndex, Error> {
    task.task_id.parse::<TaskId>().map(|id| id.index).map_err(|_| strange(&task.task_id))
}
