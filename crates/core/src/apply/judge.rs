//! What follows when somebody can never move again: the verdict is kept, told, and acted upon, in the step that closes it.

use super::attempt::error;
use crate::{
    RunId, TaskId,
    deadlock::{Deadlock, Finding, GRAPH_NODES_MAX, Member, Outcome, Policy},
    retry,
    row::{Detail, HistoryKind, Key, Row},
    run::{EndCause, StopReason},
    step::Step,
    volatile::Party,
    wait::{Analysis, DECLARED, Snapshot, describe},
    workflow::OnLost,
};
use std::collections::BTreeSet;

/// How often an attempt of a task is stopped to end a deadlock before its run is cancelled instead.
const VICTIM_MAX: u32 = 5;
/// Members of a verdict that are listed.
const MEMBERS_MAX: usize = 100;
/// The reason of a run that is cancelled to end a deadlock.
pub(crate) const AUTO_CANCEL: &str = "auto-cancel: deadlock detected";

impl Step<'_> {
    /// Looks whether the step has left anybody who can never move: the next cause is told, and acted upon. Says whether
    /// there was one.
    pub(crate) fn judge(&mut self) -> bool {
        self.state.refresh_graph();
        if !self.state.volatile.graph.has_news() {
            return false;
        }
        let put_off = self.state.continuations.values().map(|continuation| continuation.run);
        let busy = self.at_work().chain(put_off).chain(self.state.volatile.waiters.due_runs()).collect();
        let Some((graph, analysis)) = self.state.next_cause(self.now, &busy) else { return false };
        self.tell_deadlock(graph, analysis);
        true
    }

    /// All tasks of a run belong to the graph from now on.
    pub(crate) fn track(&mut self, run: RunId) {
        if self.state.volatile.graph.is_tracked(run) {
            return;
        }
        let Some(found) = self.state.runs.get(&run) else { return };
        self.state.volatile.graph.track(found, &self.state.definitions[&found.definition]);
        self.reindex_all(run);
    }

    fn tell_deadlock(&mut self, graph: Snapshot, analysis: Analysis) {
        let orphans: BTreeSet<&str> = analysis.repairs.iter().map(|repair| repair.node.as_str()).collect();
        let is_orphaned = analysis.verdict.core.iter().all(|id| orphans.contains(id.as_str()));
        let kind = if is_orphaned { Finding::Orphaned } else { Finding::Deadlocked };
        let victims: Vec<String> =
            analysis.victims.iter().filter(|id| is_orphaned || !orphans.contains(id.as_str())).cloned().collect();
        let policy = victims.iter().map(|id| self.policy_of(id)).max().unwrap_or(Policy::Alert);
        let seq = self.next_seq();
        let members = self.members(&analysis);
        let explanation = analysis.explanation.iter().map(|sentence| self.named(sentence)).collect();
        let outcome = self.resolve(kind, policy, &victims);
        let deadlock = Deadlock {
            seq,
            kind,
            at: self.now,
            closed_at: self.now,
            behind: analysis.verdict.deadlocked.len() - analysis.verdict.core.len(),
            members,
            explanation,
            graph: cut(graph, &analysis.verdict.core),
            victims: victims.iter().filter_map(|id| id.parse().ok()).collect(),
            exact: analysis.exact,
            repairs: analysis.repairs,
            policy,
            outcome,
            false_positive: None,
        };
        let runs: BTreeSet<RunId> = deadlock.members.iter().map(|member| member.task.run).collect();
        for run in runs {
            let told = Detail::of("verdict", format!("dl_{}", seq.0)).with("members", deadlock.members.len() as u64);
            self.record(run, HistoryKind::DeadlockDetected, told);
        }
        self.decision.written.push((Key::Deadlock(seq), Some(Row::Deadlock(Box::new(deadlock)))));
    }

    /// What its workflow says is done about a victim, else the configuration.
    fn policy_of(&self, id: &str) -> Policy {
        let run = id.parse::<TaskId>().map(|task| task.run).or_else(|_| id.parse());
        let own = run.ok().filter(|run| self.run(*run).is_some()).and_then(|run| self.definition(run).body.on_deadlock);
        let usual = if self.state.volatile.monitor.cancel_on_deadlock { Policy::Retry } else { Policy::Alert };
        own.unwrap_or(usual)
    }

    /// Does what the policy says.
    fn resolve(&mut self, kind: Finding, policy: Policy, victims: &[String]) -> Outcome {
        // Who waits for what nobody sends any more is not helped by being stopped and made again.
        if policy == Policy::Alert || (kind == Finding::Orphaned && policy != Policy::Cancel) {
            return Outcome::Reported;
        }
        let (mut retried, mut cancelled) = (Vec::new(), Vec::new());
        for id in victims {
            match (id.parse::<TaskId>(), id.parse::<RunId>()) {
                (Ok(task), _) if policy == Policy::Retry && self.may_be_victim(task) => {
                    self.update_task(task, |task| task.failures.victim += 1);
                    self.stop_attempt(task, StopReason::Deadlock);
                    retried.push(task);
                }
                (Ok(TaskId { run, .. }), _) | (_, Ok(run)) => {
                    self.begin_ending(run, EndCause::Cancelled, AUTO_CANCEL.to_owned(), "system", false);
                    cancelled.push(run);
                }
                _ => {}
            }
        }
        if cancelled.is_empty() { Outcome::Retried(retried) } else { Outcome::Cancelled(cancelled) }
    }

    /// Whether an attempt may be stopped and made again to end a deadlock.
    fn may_be_victim(&self, id: TaskId) -> bool {
        let Some(task) = self.task(id) else { return false };
        let may_repeat = self.definition(id.run).task(id.index).on_lost == OnLost::Retry;
        task.lease().is_some() && may_repeat && task.failures.victim < VICTIM_MAX
    }

    /// An attempt that was stopped to end a deadlock is made again: the first time at once, then ever more slowly.
    pub(crate) fn retry_victim(&mut self, id: TaskId, detail: Detail) {
        let times = self.task(id).map_or(0, |task| task.failures.victim);
        let pause = match times {
            0 | 1 => crate::Millis(0),
            more => retry::infrastructure_pause(more - 1, self.entropy),
        };
        let message = "it was stopped to end a deadlock, and is made again";
        self.retry_after(id, error("deadlock", message, None), pause, detail);
    }

    /// The tasks in the cause, in the order of its cycles.
    fn members(&self, analysis: &Analysis) -> Vec<Member> {
        let told = analysis.cycles.iter().flatten().chain(&analysis.verdict.core);
        let mut seen = BTreeSet::new();
        let tasks = told.filter_map(|id| id.parse::<TaskId>().ok()).filter(|id| seen.insert(*id));
        tasks.take(MEMBERS_MAX).filter_map(|id| self.member(id)).collect()
    }

    fn member(&self, id: TaskId) -> Option<Member> {
        let described = describe(self.state, id)?;
        let (run, definition) = (self.run(id.run)?, self.definition(id.run));
        let task = self.task(id)?;
        let holds = task.lease().into_iter().flat_map(|lease| &lease.holds);
        Some(Member {
            task: id,
            name: definition.task(id.index).name.clone(),
            workflow: run.workflow.clone(),
            attempt: task.attempts,
            version: task.wait_version,
            sentence: described.sentence,
            since: described.since,
            deadline: described.bound.map_or(run.deadline, |bound| bound.at),
            holds: holds.map(|(pool, units)| self.units_of(pool, *units)).collect(),
        })
    }

    /// Units of a pool, for people.
    fn units_of(&self, pool: &str, units: u32) -> String {
        match self.state.pools.get(pool).map(|pool| pool.size) {
            Some(1) => format!("lock `{pool}`"),
            Some(size) => format!("{units} of {size} units of pool `{pool}`"),
            None => format!("{units} units of pool `{pool}`"),
        }
    }

    /// A sentence with the names of what it speaks of by its ids.
    fn named(&self, sentence: &str) -> String {
        let mut told = String::with_capacity(sentence.len());
        for (number, piece) in sentence.split('`').enumerate() {
            match number % 2 {
                0 => told.push_str(piece),
                _ => told.push_str(&self.name_of(piece).unwrap_or_else(|| format!("`{piece}`"))),
            }
        }
        told
    }

    /// What an id of a graph is called in a sentence.
    fn name_of(&self, id: &str) -> Option<String> {
        if let Some(name) = id.strip_prefix("pool:") {
            let kind = if self.state.pools.get(name).is_some_and(|pool| pool.size == 1) { "lock" } else { "pool" };
            return Some(format!("{kind} `{name}`"));
        }
        if let Some(signal) = id.strip_prefix("signal:") {
            let name = signal.strip_suffix(DECLARED)?.split_once(':')?.1;
            return Some(format!("signal `{name}`"));
        }
        match Party::of(id)? {
            Party::Task(task) => {
                let (run, definition) = (self.run(task.run)?, self.definition(task.run));
                Some(format!("`{}/{}` ({id})", run.workflow, definition.task(task.index).name))
            }
            Party::Run(run) => Some(format!("run of `{}` ({id})", self.run(run)?.workflow)),
        }
    }
}

/// A graph cut to its cause and a number of others.
fn cut(mut graph: Snapshot, core: &[String]) -> Snapshot {
    if graph.nodes.len() <= core.len() + GRAPH_NODES_MAX {
        return graph;
    }
    let core: BTreeSet<&str> = core.iter().map(String::as_str).collect();
    let others = graph.nodes.iter().map(|node| node.id.as_str()).filter(|id| !core.contains(id)).take(GRAPH_NODES_MAX);
    let kept: BTreeSet<String> = core.iter().copied().chain(others).map(str::to_owned).collect();
    graph.nodes.retain(|node| kept.contains(&node.id));
    graph.waits.retain(|wait| kept.contains(&wait.node));
    graph.holds.retain(|hold| kept.contains(&hold.node));
    graph
}
