//! What follows when somebody can never move again: the verdict is kept, told, and acted upon, in the step that closes it.

use super::attempt::error;
use crate::{
    RunId, Seq, TaskId,
    alert::{Incident, Stuck},
    deadlock::{AUTO_CANCEL, Deadlock, Finding, MEMBERS_MAX, Member, Outcome, Policy, VerdictId, above, cut},
    retry,
    row::{Detail, HistoryKind, Key, Row},
    run::{EndCause, StopReason, Told},
    step::Step,
    wait::{Analysis, Cancel, Repair, Snapshot, named, with_names},
    workflow::OnLost,
};
use std::collections::{BTreeMap, BTreeSet};

/// How often an attempt of a task is stopped to end a deadlock before its run is cancelled instead.
const VICTIM_MAX: u32 = 5;

impl Step<'_> {
    /// Looks whether the step has left anybody who can never move: the next cause is told, and acted upon. Says whether
    /// there was one.
    pub(crate) fn judge(&mut self) -> bool {
        self.state.refresh_graph();
        if !self.state.volatile.graph.has_news() {
            return false;
        }
        let busy = self.at_work().chain(self.state.unfinished_work()).collect();
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
        let (kind, orphans) = (Finding::of(&analysis), analysis.orphans());
        let may_be_one = |id: &&String| kind == Finding::Orphaned || !orphans.contains(id.as_str());
        let victims: Vec<String> = analysis.victims.iter().filter(may_be_one).cloned().collect();
        let policy = victims.iter().map(|id| self.policy_of(id, &graph)).max().unwrap_or(Policy::Alert);
        let mut members = self.members(&analysis);
        if self.were_told(&members) {
            // A worker was away for a while, or the state was loaded: nothing is new.
            return;
        }
        let seq = self.next_seq();
        let explanation = named(self.state, &analysis.explanation);
        let told = |repair: Repair| Repair { sentence: with_names(self.state, &repair.sentence), ..repair };
        let repairs = analysis.repairs.iter().cloned().map(told).collect();
        let is_left = kind == Finding::Deadlocked && policy == Policy::Alert;
        let cancel = is_left.then(|| Cancel::of(self.state, &graph, &analysis)).flatten();
        let outcome = self.resolve(kind, policy, &victims);
        if outcome == Outcome::Reported {
            self.mark_told(&members, seq);
            members = self.members(&analysis);
        }
        let deadlock = Deadlock {
            seq,
            kind,
            at: self.now,
            closed_at: self.now,
            above: above(self.state, &members),
            behind: analysis.verdict.behind().len(),
            members,
            explanation,
            graph: cut(graph, &analysis.verdict.core.iter().cloned().collect()),
            victims: victims.iter().filter_map(|id| id.parse().ok()).collect(),
            exact: analysis.exact,
            repairs,
            cancel,
            policy,
            outcome,
            false_positive: None,
            ended_at: None,
        };
        self.keep_verdict(deadlock);
    }

    /// Keeps a verdict, and tells each run that it is about, and people outside.
    pub(crate) fn keep_verdict(&mut self, verdict: Deadlock) {
        let line = if verdict.kind.is_proved() { HistoryKind::DeadlockDetected } else { HistoryKind::StallDetected };
        for run in verdict.runs() {
            let own = verdict.members.iter().filter(|member| member.task.run == run).count();
            let told = Detail::of("verdict", VerdictId(verdict.seq).to_string()).with("kind", verdict.kind.word());
            self.record(run, line, told.with("members", verdict.members.len() as u64).with("tasks", own as u64));
            let Some(found) = self.run(run) else { continue };
            let stuck = Stuck {
                finding: verdict.kind,
                verdict: Some(verdict.seq),
                run,
                workflow: found.workflow.to_string(),
                tasks: u32::try_from(own).unwrap_or(u32::MAX),
                last_update: found.updated_at,
                auto_cancel: verdict.outcome != Outcome::Reported,
                explanation: verdict.explanation.clone(),
            };
            self.raise(Incident::stuck(stuck));
        }
        self.decision.written.push((Key::Deadlock(verdict.seq), Some(Row::Deadlock(Box::new(verdict)))));
    }

    /// What its workflow says is done about a victim; else the pools of which it holds what others here wait for, and of
    /// several the one that does least by itself; else the configuration.
    fn policy_of(&self, id: &str, graph: &Snapshot) -> Policy {
        let run = id.parse::<TaskId>().map(|task| task.run).or_else(|_| id.parse());
        let own = run.ok().filter(|run| self.run(*run).is_some()).and_then(|run| self.definition(run).body.on_deadlock);
        let usual = if self.state.volatile.monitor.cancel_on_deadlock { Policy::Retry } else { Policy::Alert };
        let held =
            graph.holds.iter().filter(|hold| hold.node == id).filter_map(|hold| hold.resource.strip_prefix("pool:"));
        let of_pools = held.filter_map(|name| self.state.pools.get(name)?.on_deadlock).max();
        own.or(of_pools).unwrap_or(usual)
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
                    // One run may have several victims.
                    if !cancelled.contains(&run) {
                        cancelled.push(run);
                    }
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

    /// Whether all of these were named by verdicts that left them as they were, each of which named nobody else.
    fn were_told(&self, members: &[Member]) -> bool {
        let mut named: BTreeMap<Seq, (u32, u32)> = BTreeMap::new();
        for member in members {
            let Some(task) = self.task(member.task) else { return false };
            let Some(told) = task.told.as_deref().filter(|told| told.version == task.wait_version) else {
                return false;
            };
            named.entry(told.verdict).or_insert((told.of, 0)).1 += 1;
        }
        !named.is_empty() && named.values().all(|(of, found)| of == found)
    }

    fn mark_told(&mut self, members: &[Member], verdict: Seq) {
        let of = u32::try_from(members.len()).unwrap_or(u32::MAX);
        for member in members {
            // The mark is a change of its own.
            self.update_task(member.task, |task| {
                task.told = Some(Box::new(Told { verdict, of, version: task.wait_version + 1 }));
            });
        }
    }

    /// The tasks in the cause, in the order of its cycles.
    fn members(&self, analysis: &Analysis) -> Vec<Member> {
        let told = analysis.cycles.iter().flatten().chain(&analysis.verdict.core);
        let mut seen = BTreeSet::new();
        let tasks = told.filter_map(|id| id.parse::<TaskId>().ok()).filter(|id| seen.insert(*id));
        tasks.take(MEMBERS_MAX).filter_map(|id| Member::of(self.state, id)).collect()
    }
}
