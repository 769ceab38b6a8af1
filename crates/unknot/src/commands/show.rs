//! `unknot show RUN`: a run, its tasks, and what each of them waits for.

mod left;
mod waits;

use super::{
    events,
    ls::tone_of,
    why::{found, mentioned},
};
use crate::{
    args::Show,
    config::nicer,
    error::Error,
    exit::Exit,
    looking::idle,
    output::{Paint, Tone, count, fit, task_tone, thousands, wrap},
    source::{Definitions, Holds, Left, Source, read_word, stamp},
    summary::counted,
    table::{Cell, Column, Table},
    terminal, time,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, io::Write, path::Path};
use unknot_api::{Moment, rest};
use unknot_engine::{
    Clock,
    core::{
        Millis, TaskIndex, Timestamp,
        row::HistoryKind,
        run::{RunStatus, TaskStatus},
        workflow::TaskDef,
    },
};

/// Runs with more tasks than this are summarised.
const SMALL_RUN: u64 = 200;
/// Tasks of each interesting status that a summary names.
const NAMED_MAX: usize = 8;
/// What somebody who looks at a large run looks for, in this order.
const INTERESTING: [TaskStatus; 5] =
    [TaskStatus::Failed, TaskStatus::Running, TaskStatus::Waiting, TaskStatus::Retrying, TaskStatus::Queued];

/// Shows a run.
pub(crate) fn perform(show: &Show, out: &mut dyn Write) -> Result<Exit, Error> {
    let mut source = Source::open(&show.at)?;
    let run = source.find(&show.run)?;
    if show.events {
        source.each_event(&run, |entry| events::write(entry, show.json, Paint::for_stdout(), out))?;
        return Ok(Exit::Success);
    }
    let now = Clock::starting_at_least(Timestamp::default()).now();
    let is_served = has_ended(&run) || source.is_served();
    let idle = source.config().filter(|_| !is_served).map(|config| idle(&run, config));
    let mut view = View {
        verdicts: mentioned(&mut source, &run.summary.run_id),
        run,
        idle,
        option: source.option(),
        holds: Holds::default(),
        definitions: Definitions::Unknown,
        now,
        is_served,
        tasks: BTreeMap::new(),
        counts: BTreeMap::new(),
        artifacts: BTreeMap::new(),
        is_looked_through: true,
    };
    view.read(&mut source, show.json)?;
    view.read_artifacts(&source)?;
    if !has_ended(&view.run) {
        view.holds = source.holds()?;
    }
    if show.json {
        view.write_json(out)?;
    } else {
        let times = view.times(&mut source)?;
        view.write(&times, out)?;
    }
    Ok(Exit::Success)
}

/// Whether a run is at its end; one with a status that this program does not know is not.
pub(super) fn has_ended(run: &rest::Run) -> bool {
    read_word(&run.summary.status).is_some_and(RunStatus::is_terminal)
}

/// A run with those of its tasks that are shown.
struct View {
    run: rest::Run,
    /// What is to be said of it if no process serves it.
    idle: Option<String>,
    /// How other commands are told to look there.
    option: String,
    /// The newest verdicts about it, or about runs that it started.
    verdicts: Vec<rest::VerdictRef>,
    /// What operators hold back.
    holds: Holds,
    definitions: Definitions,
    now: Timestamp,
    /// Whether it has ended, or a process is there that may move it.
    is_served: bool,
    tasks: BTreeMap<TaskIndex, rest::Task>,
    counts: BTreeMap<TaskStatus, u64>,
    /// What the newest attempts left, of a small run.
    artifacts: BTreeMap<TaskIndex, Vec<Left>>,
    /// Whether all tasks were looked at for that.
    is_looked_through: bool,
}

/// How long attempts took, by task.
type Times = BTreeMap<TaskIndex, Millis>;

impl View {
    fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    fn is_small(&self) -> bool {
        self.total() <= SMALL_RUN
    }

    /// What the workflow says of a task, where that is known.
    fn task_def(&self, index: TaskIndex) -> Option<&TaskDef> {
        match &self.definitions {
            Definitions::All(definition) => Some(definition.task(index)),
            Definitions::Some(tasks) => tasks.get(&index),
            Definitions::Unknown => None,
        }
    }

    /// Counts all tasks and reads those that will be shown: few of a large run, unless all are asked for.
    fn read(&mut self, source: &mut Source, all: bool) -> Result<(), Error> {
        let counts = self.run.tasks.iter();
        self.counts = counts.filter_map(|(word, tasks)| Some((read_word(word)?, *tasks))).collect();
        // An earlier version stored large runs without counts.
        let is_counted = self.total() > 0 && self.total() == self.run.task_count;
        if is_counted && !all && !self.is_small() {
            for status in INTERESTING.into_iter().filter(|status| self.counts.contains_key(status)) {
                self.tasks.extend(source.tasks_in(&self.run, status, NAMED_MAX)?);
            }
            self.definitions = source.definitions(Some(self.tasks.keys().copied().collect()))?;
            return Ok(());
        }
        self.tasks = source.tasks(&self.run)?;
        self.definitions = source.definitions(None)?;
        self.counts.clear();
        for status in self.tasks.values().filter_map(|task| read_word(&task.status)) {
            *self.counts.entry(status).or_default() += 1;
        }
        if !all && !self.is_small() {
            let mut named = BTreeMap::new();
            self.tasks.retain(|_, task| {
                let Some(status) = read_word(&task.status) else { return false };
                let of_status: &mut usize = named.entry(status).or_default();
                *of_status += 1;
                INTERESTING.contains(&status) && *of_status <= NAMED_MAX
            });
        }
        Ok(())
    }

    /// How long the last attempt of each shown task took, out of the run's history; of small runs only.
    fn times(&self, source: &mut Source) -> Result<Times, Error> {
        let mut started = BTreeMap::new();
        let mut times = Times::new();
        if self.is_small() {
            source.each_event(&self.run, |entry| {
                match (entry.task, entry.event) {
                    (Some(task), HistoryKind::TaskStarted) => drop(started.insert(task, entry.at)),
                    (Some(task), HistoryKind::TaskCompleted | HistoryKind::TaskFailed | HistoryKind::TaskCancelled) => {
                        let took = started.get(&task).map(|since| entry.at.since(*since));
                        times.extend(took.map(|took| (task, took)));
                    }
                    _ => {}
                }
                Ok(())
            })?;
        }
        Ok(times)
    }

    fn write(&self, times: &Times, out: &mut dyn Write) -> Result<(), Error> {
        let paint = Paint::for_stdout();
        let columns = terminal::size().columns;
        self.write_head(paint, columns, out)?;
        let mut table = Table::new(&[
            ("TASK", Column::Shrinks(8)),
            ("STATUS", Column::Whole),
            ("TRIES", Column::Right),
            ("TIME", Column::Right),
            ("", Column::Wraps(24)),
        ]);
        for (index, task) in &self.tasks {
            let status: Option<TaskStatus> = read_word(&task.status);
            let tone = if status == Some(TaskStatus::Failed) { Tone::Plain } else { Tone::Faint };
            table.row(vec![
                task.name.as_str().into(),
                Cell::new(status.map_or(Tone::Plain, task_tone), task.status.as_str()),
                if task.attempts == 0 { "-".into() } else { task.attempts.to_string().into() },
                self.time(*index, task, times).into(),
                Cell::new(tone, self.explain(*index, task)),
            ]);
        }
        if !self.tasks.is_empty() {
            writeln!(out)?;
            table.write(out, paint, 2, columns)?;
        }
        if !self.is_small() {
            let named = count(self.tasks.len() as u64, "task");
            writeln!(out, "  {}", paint.tone(Tone::Faint, &format!("… {named} of {} named", thousands(self.total()))))?;
        }
        self.write_left(paint, columns, out)
    }

    fn write_head(&self, paint: Paint, columns: usize, out: &mut dyn Write) -> Result<(), Error> {
        let status = &self.run.summary.status;
        let name = paint.tone(Tone::Strong, &fit(&self.run.summary.workflow_name, columns.saturating_sub(12)));
        writeln!(out, "{}  {name}", paint.tone(tone_of(status), status))?;
        for (label, text) in self.head() {
            let label = paint.tone(Tone::Faint, &format!("{label:<9}"));
            for (place, line) in wrap(&text, columns.saturating_sub(14), 3).iter().enumerate() {
                match place {
                    0 => writeln!(out, "  {label}  {line}")?,
                    _ => writeln!(out, "{}{line}", " ".repeat(13))?,
                }
            }
        }
        let counts: Vec<String> = self.counts.iter().map(|(status, count)| counted(*status, *count, paint)).collect();
        writeln!(out, "  {}  {}", paint.tone(Tone::Faint, "tasks    "), counts.join(", "))?;
        Ok(())
    }

    /// What is to be said of the run itself.
    fn head(&self) -> Vec<(&'static str, String)> {
        let (run, summary) = (&self.run, &self.run.summary);
        let since = stamp(summary.submitted_at);
        let mut head = vec![("run", summary.run_id.clone())];
        head.extend(summary.spawned_by.iter().map(|task| ("spawned", format!("by {task}"))));
        head.extend(summary.source.iter().map(|source| ("file", nicer(Path::new(source)).display().to_string())));
        head.push(("submitted", format!("{} ({})", time::moment(since), time::ago(self.now, since))));
        match summary.ended_at {
            Some(ended_at) => head.push(("took", time::length(stamp(ended_at).since(since)))),
            None => {
                let left = time::length(stamp(run.deadline).since(self.now));
                head.push(("until", format!("{} at the latest ({left} left)", time::moment(stamp(run.deadline)))));
            }
        }
        head.extend(self.idle.iter().map(|idle| ("idle", idle.clone())));
        if run.input.as_object().is_some_and(|inputs| !inputs.is_empty()) {
            head.push(("inputs", run.input.to_string()));
        }
        if let Some(ending) = &run.ending {
            head.push(("because", format!("{} (by {})", ending.reason, ending.by)));
        }
        head.extend(self.verdicts.iter().map(|verdict| {
            let who = if verdict.is_below { "a run that it started: " } else { "" };
            ("found", format!("{who}{}", found(verdict, self.now, &self.option)))
        }));
        head.extend(run.poisoned.iter().map(|error| ("frozen", format!("one of its events failed: {error}"))));
        head.extend(self.held().map(|held| ("held", held)));
        head.extend(
            (!run.durable)
                .then(|| ("memory", "the store does not answer: this is what the server remembers".to_owned())),
        );
        head
    }

    /// How long it ran, or how long it has been as it is.
    fn time(&self, index: TaskIndex, task: &rest::Task, times: &Times) -> String {
        let since = |since: Moment| time::length(self.now.since(stamp(since)));
        match (&task.wait, &task.lease) {
            (Some(wait), _) => since(wait.since),
            (_, Some(lease)) => since(lease.started_at.unwrap_or(lease.granted_at)),
            (None, None) => times.get(&index).map(|took| time::length(*took)).unwrap_or_default(),
        }
    }

    /// One object, written task by task: all of a large run's tasks at once would be a lot of memory.
    fn write_json(&self, out: &mut dyn Write) -> Result<(), Error> {
        let head = self.head_as_json().to_string();
        let head = head.strip_suffix('}').unwrap_or(&head);
        write!(out, "{head},\"tasks\":[")?;
        for (place, (index, task)) in self.tasks.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(out, "{comma}{}", self.task_as_json(*index, task))?;
        }
        writeln!(out, "]}}")?;
        Ok(())
    }

    fn head_as_json(&self) -> Value {
        let (run, summary) = (&self.run, &self.run.summary);
        let ending = run.ending.as_ref().map(|ending| {
            json!({
                "cause": ending.cause,
                "reason": ending.reason,
                "by": ending.by,
                "since": ending.since.ms,
                "force": ending.force,
            })
        });
        json!({
            "run": summary.run_id,
            "workflow": summary.workflow_name,
            "status": summary.status,
            "source": summary.source,
            "submitted_at": summary.submitted_at.ms,
            "deadline": run.deadline.ms,
            "ended_at": summary.ended_at.map(|at| at.ms),
            "input": run.input,
            "labels": summary.labels,
            "client_id": summary.client_id,
            "paused": summary.paused,
            "poisoned": run.poisoned,
            "verdicts": self.verdicts,
            "ending": ending,
            "counts": self.counts,
        })
    }

    fn task_as_json(&self, index: TaskIndex, task: &rest::Task) -> Value {
        let (wait, lease) = (task.wait.as_ref(), task.lease.as_ref());
        let asked = lease.and_then(|lease| lease.waits.as_ref());
        let since = wait
            .map(|wait| wait.since)
            .or(asked.map(|wait| wait.since))
            .or(lease.map(|lease| lease.started_at.unwrap_or(lease.granted_at)));
        let until =
            wait.map(|wait| wait.deadline).or(asked.map(|wait| wait.deadline)).or(lease.map(|lease| lease.deadline));
        json!({
            "task": task.name,
            "place": index,
            "status": task.status,
            "attempts": task.attempts,
            "failures": task.failures,
            "waits_on": wait.map(|wait| &*wait.on).or(asked.map(|_| "attempt")),
            "since": since.map(|at| at.ms),
            "until": until.map(|at| at.ms),
            "worker": lease.map(|lease| &lease.worker),
            "ended_at": task.ended_at.map(|at| at.ms),
            "reason": task.reason,
            "error": task.error,
            "output": task.output,
            "artifacts": self.artifacts_as_json(index),
            "waits_for": wait.and_then(|wait| wait.needs.as_ref()),
            "explanation": self.explain(index, task),
        })
    }
}
