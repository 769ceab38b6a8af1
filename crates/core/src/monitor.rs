//! The monitor's look at a namespace: what is new of those that stand still, and which verdicts are over.
//!
//! Proved verdicts come in the step that closes them ([`crate::deadlock`]). This is for what only time shows. It is pure:
//! whoever performs it brings the state as the store has it, and sends what came of it as
//! [`FindingsReported`](crate::event::Event::FindingsReported), which leaves alone what has moved meanwhile.

pub mod audit;
mod suspects;

pub use suspects::{Suspect, suspects};

use crate::{
    Millis, RunId, Seq, State, TaskId, Timestamp,
    alert::Incident,
    deadlock::{Deadlock, Finding, MEMBERS_MAX, Member, Outcome, Policy, above, cut},
    wait::{Cause, Mover, Movers, Snapshot, Stuck, Verdict, Watched, reach, stuck},
};
use std::collections::{BTreeMap, BTreeSet};

/// Verdicts about one cause that are open at once: of very many runs that wait for the same, the first are told, and how
/// many others there are.
pub const PER_CAUSE_MAX: usize = 10;
/// New verdicts of one look; the rest comes with the next.
pub const NEW_MAX: usize = 50;
/// Sentences of one verdict about its tasks.
const SENTENCES_MAX: usize = 10;

/// A run that was found to stand still, as of a look.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Which, and why.
    pub stuck: Stuck,
    /// The `wait_version` of each of its tasks: what has another one has moved since.
    pub versions: Vec<u32>,
    /// How many other runs stand still for the same cause.
    pub others: usize,
    /// What it depends on.
    pub graph: Snapshot,
}

/// What a look came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// Runs to be told of.
    pub found: Vec<Found>,
    /// Verdicts that were open and are over.
    pub over: Vec<Seq>,
    /// Runs that were told of by those alone.
    pub calm: Vec<(Finding, RunId)>,
    /// Runs that stand still for too long, also those that are told of already.
    pub stuck: usize,
}

/// Looks at a state. `graph` is its wait graph and `verdict` what that was judged to be; `open` are the verdicts that are
/// not over, which may be without their graphs.
pub fn look(state: &State, graph: &Snapshot, verdict: &Verdict, open: &[Deadlock], watched: Watched) -> Look {
    let standing = stuck(state, verdict, watched);
    let of_open = |open: &Deadlock| open.runs().into_iter().map(|run| (open.kind, run)).collect::<Vec<_>>();
    let known: BTreeSet<(Finding, RunId)> = open.iter().flat_map(of_open).collect();
    let is_known = |stuck: &Stuck| known.contains(&(stuck.kind, stuck.run));
    let mut told: BTreeMap<&Cause, usize> = BTreeMap::new();
    let mut all: BTreeMap<&Cause, usize> = BTreeMap::new();
    for stuck in &standing {
        *all.entry(&stuck.cause).or_default() += 1;
        *told.entry(&stuck.cause).or_default() += usize::from(is_known(stuck));
    }
    let mut found = Vec::new();
    for stuck in standing.iter().filter(|stuck| !is_known(stuck)) {
        let told = told.entry(&stuck.cause).or_default();
        if found.len() < NEW_MAX && *told < PER_CAUSE_MAX {
            *told += 1;
            let others = all.get(&stuck.cause).map_or(0, |all| all - 1);
            found.push(Found::of(state, graph, stuck.clone(), others));
        }
    }
    let (over, open): (Vec<&Deadlock>, Vec<&Deadlock>) =
        open.iter().partition(|open| is_over(state, open, &standing, watched));
    // Whoever is told of a deadlock is not told of which sort.
    let keys = |verdicts: &[&Deadlock]| -> BTreeMap<String, (Finding, RunId)> {
        let all = verdicts.iter().flat_map(|verdict| of_open(verdict));
        all.map(|(kind, run)| (Incident::stuck_key(kind, run), (kind, run))).collect()
    };
    let left = keys(&open);
    let calm = keys(&over).into_iter().filter(|(key, _)| !left.contains_key(key)).map(|(_, told)| told).collect();
    Look { found, over: over.iter().map(|over| over.seq).collect(), calm, stuck: standing.len() }
}

/// Whether those that a verdict is about have moved.
fn is_over(state: &State, open: &Deadlock, standing: &[Stuck], watched: Watched) -> bool {
    if !open.members.iter().any(|member| member.stands(state)) {
        return true;
    }
    let stands = |stuck: &Stuck| stuck.kind == open.kind && open.members.iter().any(|one| one.task.run == stuck.run);
    if open.kind.is_proved() || standing.iter().any(stands) {
        return false;
    }
    // Others of the run may have moved. That it was not found says so only if it was watched for long enough.
    let longest = open.runs().into_iter().map(|run| longest(state, run)).max().unwrap_or_default();
    watched.now.since(watched.since) >= longest
}

/// The longest that a run may stand still.
fn longest(state: &State, run: RunId) -> Millis {
    let monitor = state.volatile.monitor;
    let body = state.runs.get(&run).map(|run| &state.definitions[&run.definition].body);
    let (pending, workflow) = body.map_or((None, None), |body| (body.pending_stale, body.workflow_stale));
    pending.unwrap_or(monitor.pending_stale).max(workflow.unwrap_or(monitor.workflow_stale))
}

impl Found {
    /// Keeps of a run that stands still what its verdict is made of.
    pub fn of(state: &State, graph: &Snapshot, mut stuck: Stuck, others: usize) -> Self {
        // The tasks beyond those that are listed are only counted.
        let listed = stuck.tasks.iter().take(MEMBERS_MAX);
        let versions = listed.map(|id| state.task(*id).map_or(0, |task| task.wait_version)).collect();
        let graph = reach(graph, &stuck.run.to_string());
        stuck.more += stuck.tasks.len().saturating_sub(MEMBERS_MAX);
        stuck.tasks.truncate(MEMBERS_MAX);
        let core = stuck.tasks.iter().map(TaskId::to_string).collect();
        Self { stuck, versions, others, graph: cut(graph, &core) }
    }

    /// The verdict, of those tasks that stand as they did; nothing if all have moved, or the run comes to its end.
    pub fn verdict(&self, state: &State, now: Timestamp) -> Option<Deadlock> {
        let stuck = &self.stuck;
        let is_ending = state.runs.get(&stuck.run).is_none_or(|run| run.ending.is_some());
        let tasks = stuck.tasks.iter().zip(&self.versions);
        let standing = tasks.filter_map(|(id, version)| Some((Member::of(state, *id)?, version)));
        let members: Vec<Member> =
            standing.filter(|(member, version)| member.version == **version).map(|(member, _)| member).collect();
        if is_ending || members.is_empty() {
            return None;
        }
        Some(Deadlock {
            seq: Seq::default(),
            kind: stuck.kind,
            at: now,
            closed_at: stuck.due_at,
            above: above(state, &members),
            behind: stuck.more + self.others,
            explanation: self.explain(state, &members),
            graph: self.graph.clone(),
            members,
            victims: Vec::new(),
            exact: true,
            repairs: Vec::new(),
            cancel: None,
            policy: Policy::Alert,
            outcome: Outcome::Reported,
            false_positive: None,
            ended_at: None,
        })
    }

    /// The sentences of a verdict, for people.
    fn explain(&self, state: &State, members: &[Member]) -> Vec<String> {
        let stuck = &self.stuck;
        let workflow = state.runs.get(&stuck.run).map(|run| &*run.workflow).unwrap_or_default();
        let (tasks, waits) = match members.len() + stuck.more {
            1 => ("one of its tasks".to_owned(), "waits"),
            many => (format!("{many} of its tasks"), "wait"),
        };
        let why = match &stuck.cause {
            Cause::Outside(_) => format!("only the outside can move {tasks}"),
            Cause::Deadlock => format!("a deadlock that nobody has resolved holds up {tasks}"),
            Cause::NoWorker(_) => format!("no worker that is here takes {tasks}"),
            Cause::InLine(_) => format!("nothing of it works, and {tasks} {waits} for what others have"),
            Cause::Overtaken(_) => format!("others who came later are served before {tasks}"),
            Cause::Silence(_) => format!("nothing has happened in it since {}", stuck.since.calendar()),
        };
        let same = match self.others {
            0 => String::new(),
            1 => "; one other run waits for the same".to_owned(),
            more => format!("; {more} other runs wait for the same"),
        };
        let mut told = vec![format!("run of `{workflow}` ({}) stands still: {why}{same}", stuck.run)];
        let movers = Movers::new(state);
        told.extend(members.iter().take(SENTENCES_MAX).map(|member| sentence(&movers, member)));
        match members.len().saturating_sub(SENTENCES_MAX) + stuck.more {
            0 => {}
            more => told.push(format!("and {more} more of its tasks")),
        }
        told
    }
}

/// A task that stands still, and who moves it, in a sentence.
fn sentence(movers: &Movers<'_>, member: &Member) -> String {
    let holds = match member.holds.is_empty() {
        true => String::new(),
        false => format!("holds {} and ", member.holds.join(", ")),
    };
    let Member { workflow, name, task, sentence, since, .. } = member;
    let by = movers.of(*task).and_then(|mover| by(&mover, *task)).map(|by| format!("; {by}")).unwrap_or_default();
    format!("`{workflow}/{name}` ({task}) {holds}{sentence}, since {}{by}", since.calendar())
}

/// Who moves it, if that is somebody outside.
fn by(mover: &Mover, task: TaskId) -> Option<String> {
    Some(match mover {
        Mover::Signal(name) => format!("whoever sends {} the signal `{name}` moves it", task.run),
        Mover::Decision => "somebody who decides about it moves it".to_owned(),
        Mover::Confirmation => "word that the attempt is gone, or somebody who knows, moves it".to_owned(),
        Mover::ResumeRun(run) => format!("whoever resumes {run} moves it"),
        Mover::ResumeWorkflow(name) => format!("whoever resumes workflow `{name}` moves it"),
        Mover::ResumeQueue(name) => format!("whoever resumes queue `{name}` moves it"),
        Mover::NewWorker => "a worker that takes it moves it".to_owned(),
        Mover::Resize(name) => format!("more units of pool `{name}` move it"),
        Mover::Server => "a process that serves its run moves it".to_owned(),
        Mover::Force => "only a forced cancellation ends it".to_owned(),
        Mover::Nobody => "nobody moves it: it is deadlocked".to_owned(),
        Mover::Deadlock => "nobody moves it while those that it waits for can never move".to_owned(),
        Mover::Causes | Mover::Time | Mover::Worker(_) | Mover::Brain => return None,
    })
}
