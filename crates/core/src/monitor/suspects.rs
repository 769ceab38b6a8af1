//! The manual scan: every run that is dead, or stands still for too long, whether or not it was told of.

use super::Found;
use crate::{
    RunId, State, TaskId, Timestamp,
    deadlock::Finding,
    wait::{Analysis, Class, Snapshot, Watched, analyze, named, stuck},
};
use std::collections::BTreeMap;

/// Sentences about one run.
const SENTENCES_MAX: usize = 10;

/// A run that may never move again.
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
}

/// Judges a whole state. `graph` is its wait graph. Those that are proved dead come first, then the longest.
pub fn suspects(state: &State, graph: &Snapshot, watched: Watched) -> (Class, Vec<Suspect>) {
    let analysis = analyze(graph);
    let mut found = dead(state, &analysis);
    for stuck in stuck(state, &analysis.verdict, watched) {
        let (run, kind, tasks) = (stuck.run, stuck.kind, stuck.tasks.len());
        let told = Found::of(state, graph, stuck, 0).verdict(state, watched.now);
        let explanation = told.map(|verdict| verdict.explanation).unwrap_or_default();
        found.extend(suspect(state, run, kind, tasks, explanation));
    }
    (analysis.verdict.verdict, found)
}

fn suspect(state: &State, run: RunId, kind: Finding, tasks: usize, explanation: Vec<String>) -> Option<Suspect> {
    let known = state.runs.get(&run)?;
    let last_update = known.updated_at.max(known.submitted_at);
    Some(Suspect { run, workflow: known.workflow.to_string(), kind, tasks, last_update, explanation })
}

/// The runs with tasks that are proved dead, each with the sentences about it.
fn dead(state: &State, analysis: &Analysis) -> Vec<Suspect> {
    let mut tasks: BTreeMap<RunId, usize> = BTreeMap::new();
    for id in analysis.verdict.deadlocked.iter().filter_map(|id| id.parse::<TaskId>().ok()) {
        *tasks.entry(id.run).or_default() += 1;
    }
    let (kind, sentences) = (Finding::of(analysis), named(state, &analysis.explanation));
    let about = |run: RunId| {
        let (run, task) = (run.to_string(), run.to_string().replacen("run_", "task_", 1));
        let is_own = |sentence: &&String| sentence.contains(&run) || sentence.contains(&task);
        sentences.iter().filter(is_own).take(SENTENCES_MAX).cloned().collect()
    };
    tasks.into_iter().filter_map(|(run, tasks)| suspect(state, run, kind, tasks, about(run))).collect()
}
