//! How a run ended: its status, what failed and why, and what it left to open.

use crate::{
    attempt_folder,
    config::{Config, nicer},
    error::Error,
    exit::Exit,
    looking::Looking,
    output::{Paint, Tone, fit, harmless, run_tone, task_tone, thousands, width, wrap},
    source::{Source, read_word, run_id, stamp},
    time,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::PathBuf,
};
use unknot_api::rest;
use unknot_engine::{
    core::{
        Millis, RunId, TaskIndex,
        run::{RunStatus, Task, TaskError, TaskStatus},
        workflow::{OnFailure, TaskKind},
    },
    store::RunRecord,
};

/// Failed tasks that are told in full.
const FAILURES_MAX: usize = 5;
/// Lines of a failed task's log.
pub(crate) const LOG_LINES: usize = 5;
/// Artifacts that are listed, and folders that are looked into for them.
const ARTIFACTS_MAX: usize = 10;
const FOLDERS_MAX: usize = 1_000;

/// What is said about a run at the end.
#[derive(Debug)]
pub(crate) struct Summary {
    run: RunId,
    workflow: String,
    status: RunStatus,
    reason: Option<String>,
    /// None of a run that has not ended.
    took: Option<Millis>,
    tasks: BTreeMap<TaskStatus, u64>,
    failures: Vec<Failure>,
    failures_left_out: u64,
    artifacts: Vec<PathBuf>,
    /// How other commands are told of the data folder.
    option: String,
}

/// A task that failed for good.
#[derive(Debug)]
struct Failure {
    task: String,
    attempts: u32,
    error: TaskError,
    /// Whether the workflow deals with it.
    handled: bool,
    /// Its file, if that is on this machine.
    log: Option<PathBuf>,
    last_lines: Vec<String>,
}

/// Reads what there is to say about a run.
///
/// # Errors
/// If the store cannot be read.
pub(crate) fn gather(config: &Config, record: &RunRecord) -> Result<Summary, Error> {
    let mut looking = Looking::open(config)?;
    let run = record.run();
    let definition = looking.definition(run)?;
    let mut summary = Summary {
        run: run.id,
        workflow: run.workflow.to_string(),
        status: record.status(),
        reason: run.ending.as_ref().map(|ending| ending.reason.clone()),
        took: match record {
            RunRecord::Live(_) => None,
            RunRecord::Finished(finished) => Some(finished.ended_at.since(run.submitted_at)),
        },
        tasks: BTreeMap::new(),
        failures: Vec::new(),
        failures_left_out: 0,
        artifacts: Vec::new(),
        option: config.data_option(),
    };
    let mut folders = 0;
    looking.each_task(record, &definition, |index, task| {
        let def = definition.task(index);
        *summary.tasks.entry(task.status()).or_default() += 1;
        if task.status() == TaskStatus::Failed {
            summary.add_failure(config, index, &def.name, task, def.on_failure != OnFailure::Fail);
        }
        let produces = matches!(def.kind, TaskKind::Exec(_) | TaskKind::Http(_) | TaskKind::Worker(_));
        let produced = produces && task.status() == TaskStatus::Completed;
        if produced && folders < FOLDERS_MAX && summary.artifacts.len() < ARTIFACTS_MAX {
            folders += 1;
            let attempt = run.id.task(index).attempt(task.attempts.max(1));
            let found = attempt_folder::artifacts(&config.data, attempt, &def.name);
            summary.artifacts.extend(found.iter().map(|(_, file)| nicer(file)));
            summary.artifacts.truncate(ARTIFACTS_MAX);
        }
    })?;
    let told: u64 = summary.tasks.values().sum();
    let untouched = definition.body.tasks.len() as u64 - told.min(definition.body.tasks.len() as u64);
    if untouched > 0 {
        *summary.tasks.entry(TaskStatus::Pending).or_default() += untouched;
    }
    Ok(summary)
}

/// What there is to say about a run at a server.
///
/// # Errors
/// If the server does not tell.
pub(crate) fn of_server(source: &mut Source, run: &rest::Run) -> Result<Summary, Error> {
    let id = run_id(run)?;
    let counts: BTreeMap<TaskStatus, u64> =
        run.tasks.iter().filter_map(|(word, tasks)| Some((read_word(word)?, *tasks))).collect();
    let ended = run.summary.ended_at.map(stamp);
    let mut summary = Summary {
        run: id,
        workflow: run.summary.workflow_name.clone(),
        // One with a status that this program does not know is not at an end that it knows.
        status: read_word(&run.summary.status).unwrap_or(RunStatus::Running),
        reason: run.ending.as_ref().map(|ending| ending.reason.clone()),
        took: ended.map(|ended| ended.since(stamp(run.summary.submitted_at))),
        failures: Vec::new(),
        failures_left_out: 0,
        artifacts: Vec::new(),
        option: source.option(),
        tasks: counts,
    };
    let failed = source.tasks_in(run, TaskStatus::Failed, FAILURES_MAX)?;
    let all = summary.tasks.get(&TaskStatus::Failed).copied().unwrap_or_default();
    summary.failures_left_out = all.saturating_sub(failed.len() as u64);
    for (index, task) in failed {
        let attempt = id.task(index).attempt(task.attempts.max(1));
        let error =
            task.error.map(|error| TaskError { reason: error.reason, message: error.message, exit: error.exit });
        summary.failures.push(Failure {
            attempts: task.attempts,
            error: error.unwrap_or_else(unknown),
            handled: summary.status == RunStatus::Completed,
            log: None,
            last_lines: source.last_lines(attempt, &task.name, LOG_LINES)?,
            task: task.name,
        });
    }
    Ok(summary)
}

fn unknown() -> TaskError {
    TaskError { reason: "unknown".to_owned(), message: "no reason was recorded".to_owned(), exit: None }
}

impl Summary {
    fn add_failure(&mut self, config: &Config, index: TaskIndex, name: &str, task: &Task, handled: bool) {
        if self.failures.len() >= FAILURES_MAX {
            self.failures_left_out += 1;
            return;
        }
        let log = attempt_folder::log(&config.data, self.run.task(index).attempt(task.attempts.max(1)), name);
        self.failures.push(Failure {
            task: name.to_owned(),
            attempts: task.attempts,
            error: task.error.as_deref().cloned().unwrap_or_else(unknown),
            handled,
            last_lines: attempt_folder::last_lines(&log, LOG_LINES),
            log: Some(nicer(&log)),
        });
    }

    /// For programs.
    pub(crate) fn as_json(&self, exit: Exit) -> Value {
        let failure = |failure: &Failure| {
            json!({
                "task": failure.task,
                "attempts": failure.attempts,
                "reason": failure.error.reason,
                "message": failure.error.message,
                "exit": failure.error.exit,
                "handled": failure.handled,
                "log": failure.log,
                "last_lines": failure.last_lines,
            })
        };
        json!({
            "run": self.run,
            "workflow": self.workflow,
            "status": self.status,
            "reason": self.reason,
            "exit_status": exit.code(),
            "cut_short": exit == Exit::Killed,
            "took_ms": self.took,
            "tasks": self.tasks,
            "failures": self.failures.iter().map(failure).collect::<Vec<_>>(),
            "failures_left_out": self.failures_left_out,
            "artifacts": self.artifacts,
        })
    }

    /// For people: how the command ends, and its run. Both are the same, unless the command was cut short.
    pub(crate) fn write(&self, exit: Exit, out: &mut dyn Write, paint: Paint, columns: usize) -> io::Result<()> {
        for failure in &self.failures {
            self.write_failure(failure, out, paint, columns)?;
        }
        if self.failures_left_out > 0 {
            let left_out = thousands(self.failures_left_out);
            writeln!(out, "\n  … and {left_out} more failed: `unknot show {}{}`", self.run, self.option)?;
        }
        if !self.artifacts.is_empty() {
            writeln!(out)?;
        }
        for artifact in &self.artifacts {
            // Never cut: it is there to be copied.
            writeln!(out, "  {}  {}", paint.tone(Tone::Faint, "artifact"), harmless(&artifact.display().to_string()))?;
        }
        let took = self.took.map(|took| format!(" in {}", time::length(took))).unwrap_or_default();
        let (status, end) = match exit {
            Exit::Killed => (paint.tone(Tone::Bad, "CUT SHORT"), format!("; the run is {}{took}", self.status.word())),
            _ => (paint.tone(run_tone(self.status), self.status.word()), took),
        };
        let room = columns.saturating_sub(width(&end) + "TIMED_OUT".len() + 3);
        let workflow = paint.tone(Tone::Strong, &fit(&self.workflow, room));
        writeln!(out, "\n{status}  {workflow}{end}")?;
        if let (Some(reason), true) = (&self.reason, self.status != RunStatus::Completed) {
            for line in wrap(reason, columns.saturating_sub(3), 3) {
                writeln!(out, "  {line}")?;
            }
        }
        let tasks: Vec<String> = self.tasks.iter().map(|(status, count)| counted(*status, *count, paint)).collect();
        writeln!(out, "  {}", tasks.join(", "))?;
        writeln!(out, "  {}", paint.tone(Tone::Faint, &format!("unknot show {}{}", self.run, self.option)))
    }

    /// What the workflow deals with takes a line; what nobody dealt with is told with the end of its log.
    fn write_failure(&self, failure: &Failure, out: &mut dyn Write, paint: Paint, columns: usize) -> io::Result<()> {
        let name = paint.tone(Tone::Strong, &failure.task);
        if failure.handled {
            let room = columns.saturating_sub(width(&failure.task) + 26);
            let message = fit(&failure.error.message, room.max(10));
            return writeln!(out, "\n  {} {name} failed, as it may: {message}", paint.tone(Tone::Warn, "✗"));
        }
        let attempts =
            if failure.attempts > 1 { format!(" after {} attempts", failure.attempts) } else { String::new() };
        writeln!(out, "\n  {} {name} failed{attempts}", paint.tone(Tone::Bad, "✗"))?;
        for line in wrap(&failure.error.message, columns.saturating_sub(5), 4) {
            writeln!(out, "    {line}")?;
        }
        for line in &failure.last_lines {
            writeln!(out, "    {} {}", paint.tone(Tone::Faint, "│"), fit(line, columns.saturating_sub(7)))?;
        }
        let more = format!("unknot logs {} {}{}", self.run, failure.task, self.option);
        writeln!(out, "    {}", paint.tone(Tone::Faint, &more))
    }
}

/// `7 completed`.
pub(crate) fn counted(status: TaskStatus, count: u64, paint: Paint) -> String {
    paint.tone(task_tone(status), &format!("{} {}", thousands(count), status.word().to_lowercase()))
}
