//! The manual scan: every run that is dead, or stands still for too long, whether or not it was told of.

use super::{Found, sentence};
use crate::{
    RunId, State, TaskId, Timestamp,
    deadlock::{Finding, Member},
    wait::{Cause, Class, Movers, Snapshot, Watched, named, standstills, stuck},
};
use std::collections::{BTreeMap, BTreeSet};

/// Sentences about the tasks of one run that wait behind others.
const SENTENCES_MAX: usize = 10;

/// A run that stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Which.
    pub run: RunId,
    /// Its workflow's name.
    pub workflow: String,
    /// What was found.
    pub kind: Finding,
    /// How many of its tasks stand still.
    pub tasks: usize,
    /// When anything last changed in it.
    pub last_update: Timestamp,
    /// Sentences for people.
    pub explanation: Vec<String>,
    /// The number of what it is part of, among all that is proved: runs with the same one hold up one another.
    pub part_of: Option<u64>,
    /// The numbers of those that it waits behind and is no part of.
    pub behind: Vec<u64>,
}

/// Judges a whole state. `graph` is its wait graph. Those that are proved dead come first, each cause by itself; then
/// those that wait behind these; then those that have stood still for long, the longest first.
pub fn suspects(state: &State, graph: &Snapshot, watched: Watched) -> (Class, Vec<Suspect>) {
    let (verdict, parts) = standstills(graph);
    let mut found = Vec::new();
    let mut behind: BTreeMap<RunId, Behind> = BTreeMap::new();
    for (number, part) in (1..).zip(&parts) {
        let analysis = part.analysis(state, watched.now);
        let kind = Finding::of(&analysis);
        let runs: BTreeSet<RunId> = part.members().map(|task| task.run).collect();
        let sentences = named(state, &analysis.explanation);
        for run in &runs {
            let own = part.members().chain(part.waiting()).filter(|task| task.run == *run).count();
            let suspect = suspect(state, *run, kind, own, sentences.clone());
            found.extend(suspect.map(|suspect| Suspect { part_of: Some(number), ..suspect }));
        }
        let cause = part.named(state, kind);
        for task in part.waiting().filter(|task| !runs.contains(&task.run)) {
            let behind = behind.entry(task.run).or_default();
            behind.tasks.insert(task);
            behind.causes.insert(number, cause.clone());
        }
    }
    let movers = Movers::new(state);
    found.extend(behind.into_iter().filter_map(|(run, behind)| behind.suspect(state, &movers, run)));
    // Whoever waits behind what is proved was told of just now, however long it has.
    for stuck in stuck(state, &verdict, watched).into_iter().filter(|stuck| stuck.cause != Cause::Deadlock) {
        let (run, kind, tasks) = (stuck.run, stuck.kind, stuck.tasks.len());
        let told = Found::of(state, graph, stuck, 0).verdict(state, watched.now);
        let explanation = told.map(|verdict| verdict.explanation).unwrap_or_default();
        found.extend(suspect(state, run, kind, tasks, explanation));
    }
    (verdict.verdict, found)
}

fn suspect(state: &State, run: RunId, kind: Finding, tasks: usize, explanation: Vec<String>) -> Option<Suspect> {
    let known = state.runs.get(&run)?;
    let last_update = known.updated_at.max(known.submitted_at);
    let workflow = known.workflow.to_string();
    Some(Suspect { run, workflow, kind, tasks, last_update, explanation, part_of: None, behind: Vec::new() })
}

/// The tasks of a run that wait behind what is proved, and who is the cause of that, by its number.
#[derive(Default)]
struct Behind {
    tasks: BTreeSet<TaskId>,
    causes: BTreeMap<u64, String>,
}

impl Behind {
    fn suspect(self, state: &State, movers: &Movers<'_>, run: RunId) -> Option<Suspect> {
        let workflow = &state.runs.get(&run)?.workflow;
        let causes: Vec<String> = self.causes.values().cloned().collect();
        let mut explanation = vec![format!(
            "run of `{workflow}` ({run}) waits behind {}, and is no part of that",
            causes.join("; and behind ")
        )];
        let members = self.tasks.iter().take(SENTENCES_MAX).filter_map(|task| Member::of(state, *task));
        explanation.extend(members.map(|member| sentence(movers, &member)));
        let suspect = suspect(state, run, Finding::Stalled, self.tasks.len(), explanation)?;
        Some(Suspect { behind: self.causes.into_keys().collect(), ..suspect })
    }
}
