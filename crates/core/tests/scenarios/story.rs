//! Tells a story: reads its lines one by one, lets them happen, and writes down what came of each.
//!
//! ```text
//! # A comment stays where it is.
//! workflow flow
//!   task a
//!
//! > worker local slots 1
//! > submit r1 flow
//!     what happened stands indented under the line that caused it, and is made anew by a blessing
//! ```
//!
//! A bare task name means the task of the run that was submitted last, `r1.a` that of another run,
//! `a#1` its first attempt under the fence that it was given. Whatever is due happens by itself after
//! each line, as in the driver, until `> by hand`; then each `> turn` lets one event happen.

use crate::{command, coverage::Coverage, print, words::Words, workflow_form, world::World};
use std::{collections::BTreeMap, sync::Arc};
use unknot_core::{
    AttemptId, Fence, RunId, TaskId, TaskIndex,
    deadline::Deadline,
    effect::Effect,
    event::{Caller, Event, Findings},
    row::Row,
    workflow::Definition,
};

/// What stands before every line that was written down.
const INDENT: &str = "    ";
/// Events that may follow from one line; more is a loop.
const FOLLOWING_MAX: usize = 50_000;

/// A story while it is told.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) world: World,
    pub(crate) workflows: BTreeMap<String, Arc<Definition>>,
    pub(crate) runs: BTreeMap<String, (RunId, Arc<Definition>)>,
    /// The run that a bare task name belongs to.
    pub(crate) latest: String,
    /// Under which fence each attempt was given to its worker.
    pub(crate) fences: BTreeMap<AttemptId, Fence>,
    pub(crate) boots: BTreeMap<String, u64>,
    /// Whether what is due waits for `> turn` instead of happening by itself.
    pub(crate) by_hand: bool,
    /// What the monitor saw and has not told yet.
    pub(crate) seen: Findings,
    callers: u64,
    told: String,
}

/// Tells a whole story and gives its text with everything that happened, and what it took.
pub(crate) fn tell(text: &str) -> (String, Coverage) {
    let story = begin(text);
    story.world.check();
    (story.told, story.world.coverage)
}

/// Tells a story that may go on.
pub(crate) fn begin(text: &str) -> Story {
    let mut story = Story::default();
    go_on(&mut story, text);
    story
}

/// Tells more of a story.
pub(crate) fn go_on(story: &mut Story, text: &str) {
    let mut lines = text.lines().filter(|line| !line.starts_with(INDENT)).peekable();
    while let Some(line) = lines.next() {
        story.write(line);
        if line.starts_with("workflow ") {
            let mut tasks = Vec::new();
            while let Some(task) = lines.next_if(|line| line.starts_with("  ")) {
                story.write(task);
                tasks.push(task);
            }
            story.define(line, &tasks);
        } else if let Some(line) = line.strip_prefix("> ") {
            command::obey(story, Words::of(line));
            if !story.by_hand {
                story.follow();
            }
        } else {
            assert!(line.is_empty() || line.starts_with('#'), "a line is a comment, a workflow or begins with `> `");
        }
    }
}

impl Story {
    fn define(&mut self, head: &str, tasks: &[&str]) {
        let pools: Vec<_> = self.world.state.pools.iter().map(|(name, pool)| (name.clone(), pool.size)).collect();
        let definition = workflow_form::read(head, tasks.iter().copied(), &pools);
        self.workflows.insert(definition.body.name.to_string(), definition);
    }

    /// Writes a line of the story itself.
    fn write(&mut self, line: &str) {
        self.told.push_str(line);
        self.told.push('\n');
    }

    /// Writes down what happened.
    pub(crate) fn note(&mut self, line: impl AsRef<str>) {
        for line in line.as_ref().lines() {
            self.told.push_str(INDENT);
            self.told.push_str(&print::named(self, line));
            self.told.push('\n');
        }
    }

    /// Lets one event happen and writes down what came of it.
    pub(crate) fn happen(&mut self, event: Event) {
        let lines = self.take_place(event);
        lines.iter().for_each(|line| self.note(line));
    }

    /// Lets one event happen; says what came of it.
    pub(crate) fn take_place(&mut self, event: Event) -> Vec<String> {
        let decision = self.world.apply(event);
        for effect in &decision.effects {
            if let Effect::Start(assignment) = effect {
                self.fences.insert(assignment.attempt, assignment.fence);
            }
        }
        print::decision(self, &decision)
    }

    /// One event that is due now, if any, and what came of it.
    fn next_due(&mut self) -> Option<Vec<String>> {
        let event = self.world.due()?;
        let at = self.world.elapsed(self.world.now);
        let cause = print::due(&event).map(|cause| format!("(+{at}) {cause}"));
        let is_age = matches!(event, Event::DeadlinePassed(Deadline::CountsAsHigh(_)));
        let lines = self.take_place(event);
        // Most come of age and still wait.
        let cause = cause.filter(|_| !(is_age && lines.is_empty()));
        Some(cause.into_iter().chain(lines).collect())
    }

    /// Lets one event happen that is due now.
    pub(crate) fn turn(&mut self) {
        let lines = self.next_due().expect("nothing is due");
        lines.iter().for_each(|line| self.note(line));
    }

    /// Lets everything happen that is due now; very much of it is counted only.
    pub(crate) fn follow(&mut self) {
        let mut lines = Vec::new();
        for _ in 0..FOLLOWING_MAX {
            match self.next_due() {
                Some(more) => lines.extend(more),
                None => {
                    let lines = print::counted_if_many(lines);
                    return lines.iter().for_each(|line| self.note(line));
                }
            }
        }
        panic!("more than {FOLLOWING_MAX} events followed from one line");
    }

    /// A caller nobody else is.
    pub(crate) fn caller(&mut self) -> Caller {
        self.callers += 1;
        Caller(self.callers)
    }

    /// The run of this name.
    pub(crate) fn run(&self, name: &str) -> RunId {
        self.runs.get(name).unwrap_or_else(|| panic!("no run `{name}`")).0
    }

    /// The task that `a` or `r1.a` means.
    pub(crate) fn task(&self, name: &str) -> TaskId {
        let (run, task) = name.split_once('.').unwrap_or((&self.latest, name));
        let (id, definition) = self.runs.get(run).unwrap_or_else(|| panic!("no run `{run}`"));
        id.task(definition.find(task).unwrap_or_else(|| panic!("no task `{task}` in `{run}`")))
    }

    /// The attempt that `a` (its newest) or `a#1` means, with the fence that it was given under.
    pub(crate) fn attempt(&self, name: &str) -> (AttemptId, Fence) {
        let (task, number) = name.split_once('#').map_or((name, None), |(task, number)| (task, number.parse().ok()));
        let task = self.task(task);
        let newest = self.fences.range(task.attempt(0)..=task.attempt(u32::MAX)).next_back();
        let attempt = task.attempt(number.or(newest.map(|(attempt, _)| attempt.number)).unwrap_or(1));
        let fence = self.fences.get(&attempt).unwrap_or_else(|| panic!("`{name}` was never given to a worker"));
        (attempt, *fence)
    }

    /// What people call a task.
    pub(crate) fn task_name(&self, id: TaskId) -> String {
        let run = self.runs.iter().find(|(_, (run, _))| *run == id.run);
        run.map_or_else(
            || id.to_string(),
            |(name, (_, definition))| format!("{name}.{}", task_word(definition, id.index)),
        )
    }

    /// The finished runs that the store has, oldest first.
    pub(crate) fn finished(&self) -> impl Iterator<Item = &unknot_core::row::FinishedRun> {
        self.world.rows.values().filter_map(|row| match row {
            Row::Finished(finished) => Some(&**finished),
            _ => None,
        })
    }
}

fn task_word(definition: &Definition, index: TaskIndex) -> &str {
    &definition.task(index).name
}
