//! `unknot show RUN`: a run, its tasks, and what each of them waits for.

mod waits;

use crate::{
    args::Show,
    config::{Config, nicer},
    error::Error,
    exit::Exit,
    looking::{Looking, idle},
    output::{Paint, Tone, count, fit, run_tone, task_tone, thousands, wrap},
    summary::counted,
    table::{Cell, Column, Table},
    terminal, time,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, io::Write, path::Path, sync::Arc};
use unknot_engine::{
    Clock, control,
    core::{
        Millis, TaskIndex, Timestamp,
        row::{HistoryEntry, HistoryKind},
        run::{Run, Task, TaskStatus},
        workflow::{Definition, TaskDef},
    },
    store::{PageSize, RunRecord},
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
    let config = Config::here(&show.place)?;
    let mut looking = Looking::open(&config)?;
    let record = looking.find(&show.run)?;
    if show.events {
        return events(&mut looking, &record, show.json, out);
    }
    let now = Clock::starting_at_least(Timestamp::default()).now();
    let is_served = record.status().is_terminal() || control::is_served(&config.data);
    let mut view = View {
        config: &config,
        record: &record,
        definitions: Definitions::Some(BTreeMap::new()),
        now,
        is_served,
        tasks: BTreeMap::new(),
        counts: BTreeMap::new(),
    };
    view.read(&mut looking, show.json)?;
    if show.json {
        view.write_json(out)?;
    } else {
        let times = view.times(&mut looking)?;
        view.write(&times, out)?;
    }
    Ok(Exit::Success)
}

/// A run with those of its tasks that are shown.
struct View<'r> {
    config: &'r Config,
    record: &'r RunRecord,
    definitions: Definitions,
    now: Timestamp,
    /// Whether it has ended, or a process is there that may move it.
    is_served: bool,
    tasks: BTreeMap<TaskIndex, Task>,
    counts: BTreeMap<TaskStatus, u64>,
}

/// What is known of the workflow.
enum Definitions {
    /// All of it.
    All(Arc<Definition>),
    /// The tasks that are shown, of a workflow with very many.
    Some(BTreeMap<TaskIndex, TaskDef>),
}

/// How long attempts took, by task.
type Times = BTreeMap<TaskIndex, Millis>;

impl View<'_> {
    fn run(&self) -> &Run {
        self.record.run()
    }

    fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    fn is_small(&self) -> bool {
        self.total() <= SMALL_RUN
    }

    fn task_def(&self, index: TaskIndex) -> &TaskDef {
        match &self.definitions {
            Definitions::All(definition) => definition.task(index),
            Definitions::Some(tasks) => &tasks[&index],
        }
    }

    /// Counts all tasks and reads those that will be shown: few of a large run, unless all are asked for.
    fn read(&mut self, looking: &mut Looking, all: bool) -> Result<(), Error> {
        if let Some(counts) = &self.run().counts {
            self.counts = counts.iter().map(|(status, tasks)| (*status, u64::from(*tasks))).collect();
            if !all && !self.is_small() {
                return self.read_some(looking);
            }
        }
        self.read_all(looking)?;
        if !all && !self.is_small() {
            // An earlier version stored it, without counts.
            let mut named = BTreeMap::new();
            self.tasks.retain(|_, task| {
                let of_status: &mut usize = named.entry(task.status()).or_default();
                *of_status += 1;
                INTERESTING.contains(&task.status()) && *of_status <= NAMED_MAX
            });
        }
        Ok(())
    }

    fn read_all(&mut self, looking: &mut Looking) -> Result<(), Error> {
        let definition = looking.definition(self.run())?;
        let untouched = self.run().untouched_task();
        // A large live run stores no row for a task that nothing has happened to yet.
        self.tasks = definition.body.indexed().map(|(index, _)| (index, untouched.clone())).collect();
        looking.each_task(self.record, &definition, |index, task| drop(self.tasks.insert(index, task.clone())))?;
        self.counts.clear();
        for task in self.tasks.values() {
            *self.counts.entry(task.status()).or_default() += 1;
        }
        self.definitions = Definitions::All(definition);
        Ok(())
    }

    fn read_some(&mut self, looking: &mut Looking) -> Result<(), Error> {
        let (run, size) = (self.run().id, PageSize::new(NAMED_MAX));
        for status in INTERESTING.into_iter().filter(|status| self.counts.contains_key(status)) {
            let found = looking.ask(|reader, namespace| reader.tasks_in(namespace, run, status, size))?;
            self.tasks.extend(found.value);
        }
        let (hash, wanted) = (&self.run().definition, self.tasks.keys().copied().collect());
        let found = looking.ask(|reader, namespace| reader.task_definitions(namespace, hash, &wanted))?.value;
        // What has no definition has no name: damage, which `store check` tells.
        self.tasks.retain(|index, _| found.contains_key(index));
        self.definitions = Definitions::Some(found);
        Ok(())
    }

    /// How long the last attempt of each shown task took, out of the run's history; of small runs only.
    fn times(&self, looking: &mut Looking) -> Result<Times, Error> {
        let mut started = BTreeMap::new();
        let mut times = Times::new();
        if self.is_small() {
            each_event(looking, self.record, |entry| {
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
            ("", Column::Shrinks(3)),
        ]);
        for (index, task) in &self.tasks {
            let status = task.status();
            let tone = if status == TaskStatus::Failed { Tone::Plain } else { Tone::Faint };
            table.row(vec![
                self.task_def(*index).name.as_ref().into(),
                Cell::new(task_tone(status), status.word()),
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
        Ok(())
    }

    fn write_head(&self, paint: Paint, columns: usize, out: &mut dyn Write) -> Result<(), Error> {
        let status = self.record.status();
        let name = paint.tone(Tone::Strong, &fit(&self.run().workflow, columns.saturating_sub(12)));
        writeln!(out, "{}  {name}", paint.tone(run_tone(status), status.word()))?;
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
        let run = self.run();
        let mut head = vec![("run", run.id.to_string())];
        head.extend(run.source.iter().map(|source| ("file", nicer(Path::new(source)).display().to_string())));
        let submitted = format!("{} ({})", time::moment(run.submitted_at), time::ago(self.now, run.submitted_at));
        head.push(("submitted", submitted));
        match self.record {
            RunRecord::Finished(finished) => {
                head.push(("took", time::length(finished.ended_at.since(run.submitted_at))));
            }
            RunRecord::Live(_) => {
                let left = time::length(run.deadline.since(self.now));
                head.push(("until", format!("{} at the latest ({left} left)", time::moment(run.deadline))));
            }
        }
        if !self.is_served {
            head.push(("idle", idle(run, self.config)));
        }
        if run.input.value().as_object().is_some_and(|inputs| !inputs.is_empty()) {
            head.push(("inputs", run.input.0.to_string()));
        }
        if let Some(ending) = &run.ending {
            head.push(("because", format!("{} (by {})", ending.reason, ending.by)));
        }
        head.extend(run.poisoned.iter().map(|error| ("frozen", format!("one of its events failed: {error}"))));
        head.extend(run.paused.iter().map(|pause| ("held", format!("by {}: nothing new starts", pause.by))));
        head
    }

    /// How long it ran, or how long it has been as it is.
    fn time(&self, index: TaskIndex, task: &Task, times: &Times) -> String {
        let since = |since: Timestamp| time::length(self.now.since(since));
        match (task.wait(), task.lease()) {
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
        let run = self.run();
        let ended_at = match self.record {
            RunRecord::Finished(finished) => Some(finished.ended_at),
            RunRecord::Live(_) => None,
        };
        json!({
            "run": run.id,
            "workflow": run.workflow,
            "status": self.record.status(),
            "source": run.source,
            "submitted_at": run.submitted_at,
            "deadline": run.deadline,
            "ended_at": ended_at,
            "input": run.input.value(),
            "labels": run.labels,
            "client_id": run.client_id,
            "paused": run.paused.is_some(),
            "poisoned": run.poisoned,
            "ending": run.ending,
            "counts": self.counts,
        })
    }

    fn task_as_json(&self, index: TaskIndex, task: &Task) -> Value {
        let wait = task.wait();
        let lease = task.lease();
        let end = task.end();
        json!({
            "task": self.task_def(index).name,
            "place": index,
            "status": task.status(),
            "attempts": task.attempts,
            "failures": task.failures,
            "waits_on": wait.map(|wait| wait.on),
            "since": wait.map(|wait| wait.since).or(lease.map(|lease| lease.started_at.unwrap_or(lease.granted_at))),
            "until": wait.map(|wait| wait.deadline).or(lease.map(|lease| lease.deadline)),
            "worker": lease.map(|lease| &lease.worker.name),
            "ended_at": end.map(|end| end.at),
            "reason": end.and_then(|end| end.reason.as_deref()),
            "error": task.error,
            "output": task.output.as_ref().map(|output| output.value()),
            "explanation": self.explain(index, task),
        })
    }
}

/// Prints the history.
fn events(looking: &mut Looking, record: &RunRecord, is_json: bool, out: &mut dyn Write) -> Result<Exit, Error> {
    let paint = Paint::for_stdout();
    each_event(looking, record, |entry| {
        if is_json {
            writeln!(out, "{}", json!(entry))?;
            return Ok(());
        }
        let at = format!("{}.{:03}Z", time::moment(entry.at).trim_end_matches('Z'), entry.at.0 % 1_000);
        let kind = json!(entry.event);
        let attempt = entry.attempt.map(|attempt| format!("#{attempt}")).unwrap_or_default();
        let name = entry.name.as_deref().unwrap_or_default();
        let detail: Vec<String> = entry.detail.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let line = format!("{:<14}  {name}{attempt}  {}", kind.as_str().unwrap_or_default(), detail.join(" "));
        writeln!(out, "{}  {}", paint.tone(Tone::Faint, &at), crate::output::harmless(line.trim_end()))?;
        Ok(())
    })?;
    Ok(Exit::Success)
}

/// Hands each line of a run's history on, oldest first.
fn each_event(
    looking: &mut Looking,
    record: &RunRecord,
    mut take: impl FnMut(&HistoryEntry) -> Result<(), Error>,
) -> Result<(), Error> {
    let (run, mut after) = (record.id(), None);
    loop {
        let page = looking.ask(|reader, namespace| reader.events(namespace, run, after, PageSize::MAX))?.value;
        for event in &page.items {
            take(&event.entry)?;
        }
        // A live run's history says where it would go on even at its end.
        match page.next {
            Some(next) if !page.items.is_empty() => after = Some(next),
            _ => return Ok(()),
        }
    }
}
