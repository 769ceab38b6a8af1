//! Verdicts and wait graphs in the words of the API.

use super::{moment, word};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use unknot_api::rest;
use unknot_engine::core::{
    RunId, State, TaskId, Timestamp,
    deadlock::{Deadlock, Mark, Member, Outcome, VerdictId},
    monitor::{Suspect, suspects},
    wait::{Movers, Snapshot, Watched, describe, reach, snapshot, waiting},
};

/// A verdict, as lists show it.
pub fn verdict_summary(verdict: &Deadlock) -> rest::VerdictSummary {
    let workflows: BTreeSet<&str> = verdict.members.iter().map(|member| &*member.workflow).collect();
    rest::VerdictSummary {
        id: VerdictId(verdict.seq).to_string(),
        kind: verdict.kind.word().to_owned(),
        at: moment(verdict.at),
        ended_at: verdict.ended_at.map(moment),
        runs: verdict.runs().iter().map(ToString::to_string).collect(),
        above: verdict.above.iter().map(ToString::to_string).collect(),
        workflows: workflows.into_iter().map(str::to_owned).collect(),
        tasks: verdict.members.len() as u64,
        behind: verdict.behind as u64,
        summary: verdict.explanation.first().cloned().unwrap_or_default(),
        policy: word(&verdict.policy),
        outcome: verdict.outcome.word().to_owned(),
        false_positive: verdict.false_positive.as_ref().map(mark),
    }
}

/// All that is kept of a verdict.
pub fn verdict(verdict: &Deadlock) -> rest::Verdict {
    let (mut retried, mut cancelled) = (Vec::new(), Vec::new());
    match &verdict.outcome {
        Outcome::Reported => {}
        Outcome::Retried(tasks) => retried.extend(tasks.iter().map(ToString::to_string)),
        Outcome::Cancelled(runs) => cancelled.extend(runs.iter().map(ToString::to_string)),
    }
    rest::Verdict {
        summary: verdict_summary(verdict),
        closed_at: moment(verdict.closed_at),
        members: verdict.members.iter().map(member).collect(),
        explanation: verdict.explanation.clone(),
        graph: graph(&verdict.graph),
        victims: verdict.victims.iter().map(ToString::to_string).collect(),
        exact: verdict.exact,
        repairs: verdict.repairs.iter().filter_map(as_object).collect(),
        cancel: verdict.cancel.as_ref().map(super::cancel),
        retried,
        cancelled,
    }
}

/// A verdict that is only mentioned, to whoever looks at a run.
pub fn verdict_ref(run: RunId, verdict: &Deadlock) -> rest::VerdictRef {
    rest::VerdictRef {
        id: VerdictId(verdict.seq).to_string(),
        kind: verdict.kind.word().to_owned(),
        at: moment(verdict.at),
        ended_at: verdict.ended_at.map(moment),
        outcome: verdict.outcome.word().to_owned(),
        is_below: verdict.above.contains(&run),
    }
}

fn member(member: &Member) -> rest::VerdictMember {
    rest::VerdictMember {
        task_id: member.task.to_string(),
        run_id: member.task.run.to_string(),
        name: member.name.to_string(),
        workflow_name: member.workflow.to_string(),
        attempt: member.attempt,
        version: member.version,
        sentence: member.sentence.clone(),
        since: moment(member.since),
        deadline: moment(member.deadline),
        holds: member.holds.clone(),
    }
}

fn mark(mark: &Mark) -> rest::VerdictMark {
    rest::VerdictMark { by: mark.by.clone(), at: moment(mark.at), note: mark.note.clone() }
}

/// What a manual scan finds in a state.
pub fn scan_report(state: &State, watched: Watched, as_of: u64) -> rest::ScanReport {
    let (class, found) = suspects(state, &snapshot(state, watched.now), watched);
    rest::ScanReport {
        verdict: word(&class),
        at: moment(watched.now),
        as_of,
        found: found.iter().map(suspect).collect(),
    }
}

/// A run that a manual scan found.
fn suspect(found: &Suspect) -> rest::Suspected {
    rest::Suspected {
        run_id: found.run.to_string(),
        workflow_name: found.workflow.clone(),
        kind: found.kind.word().to_owned(),
        tasks: found.tasks as u64,
        last_update: moment(found.last_update),
        explanation: found.explanation.clone(),
        part_of: found.part_of,
        behind: found.behind.clone(),
    }
}

/// A graph in the exchange format.
pub fn graph(snapshot: &Snapshot) -> rest::Graph {
    fn list<T: serde::Serialize>(items: &[T]) -> Vec<Map<String, Value>> {
        items.iter().filter_map(as_object).collect()
    }
    rest::Graph {
        nodes: list(&snapshot.nodes),
        resources: list(&snapshot.resources),
        consumables: list(&snapshot.consumables),
        holds: list(&snapshot.holds),
        waits: list(&snapshot.waits),
    }
}

fn as_object(value: &impl serde::Serialize) -> Option<Map<String, Value>> {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// The waits of a state, those that have lasted longest first, `most` of them; with `run` only those that it depends on.
pub fn live_waits(state: &State, now: Timestamp, run: Option<RunId>, most: usize, as_of: u64) -> rest::LiveWaits {
    let mut found = waiting(state);
    if let Some(run) = run {
        let part = reach(&snapshot(state, now), &run.to_string());
        let shown: BTreeSet<&str> = part.nodes.iter().map(|node| node.id.as_str()).collect();
        found.retain(|(_, id)| shown.contains(id.to_string().as_str()));
    }
    let movers = Movers::new(state);
    let told = found.iter().take(most).filter_map(|(_, id)| live_wait(state, &movers, *id));
    rest::LiveWaits { total: found.len() as u64, waits: told.collect(), as_of }
}

/// A task that waits, in a sentence; nothing for what has ended.
fn live_wait(state: &State, movers: &Movers<'_>, id: TaskId) -> Option<rest::LiveWait> {
    let described = describe(state, id)?;
    let run = state.runs.get(&id.run)?;
    let mover = movers.of(id)?;
    Some(rest::LiveWait {
        task_id: id.to_string(),
        name: state.definitions[&run.definition].task(id.index).name.to_string(),
        run_id: id.run.to_string(),
        workflow_name: run.workflow.to_string(),
        sentence: described.sentence,
        since: moment(described.since),
        until: described.bound.map(|bound| moment(bound.at)),
        then: described.bound.map(|bound| bound.then.to_owned()),
        mover: mover.word().to_owned(),
        mover_name: mover.name(),
    })
}
