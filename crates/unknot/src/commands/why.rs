//! `unknot why RUN`: what it waits for, followed down to whoever can move it; from the server, or the process that runs it.

use super::{deadlocks::cancel_advice, show::has_ended};
use crate::{
    args::Why as Asked,
    config::Config,
    error::{Error, eprint_quietly},
    exit::Exit,
    output::{Paint, Tone, harmless, wrap},
    remote::Remote,
    source::{Source, read_word, run_id, stamp},
    terminal, time,
};
use serde_json::{Value, json};
use std::{io::Write, time::Duration};
use unknot_api::rest;
use unknot_engine::{
    Clock, Engine, control,
    core::{
        Timestamp,
        run::RunStatus,
        wait::{self, Subject},
    },
    store::VerdictFilter,
};
use unknot_server::view;

/// How long the brain may take to come to the question.
const WITHIN: Duration = Duration::from_secs(2);
/// Lines of one sentence.
const LINES_MAX: usize = 6;
/// Verdicts that are mentioned.
const VERDICTS_MAX: usize = 3;
/// The beginning of the id of a task.
const TASK: &str = "task_";

/// Tells.
pub(crate) fn perform(asked: &Asked, out: &mut dyn Write) -> Result<Exit, Error> {
    let mut source = match Remote::find(&asked.at) {
        Err(Error::NoServer { .. }) => Source::store(Config::here(&asked.at.place)?)?,
        found => Source::Server(Box::new(found?)),
    };
    let run = if asked.id.starts_with(TASK) { None } else { Some(source.find(&asked.id)?) };
    let id = run.as_ref().map_or(&asked.id, |run| &run.summary.run_id);
    if run.as_ref().is_some_and(has_ended) {
        let verdicts = mentioned(&mut source, id);
        mention(&verdicts, &source.option());
        return Err(ended(id, run.as_ref())?);
    }
    let told = match (&source, source.config()) {
        (Source::Server(remote), _) => {
            match remote.ask(format!("ask why `{id}` does not go on"), remote.client().why(id)) {
                Err(Error::Client { source, .. }) if source.status() == Some(409) => None,
                told => Some(told?),
            }
        }
        (Source::Store(_), Some(config)) => of_owner(config, id)?,
        (Source::Store(_), None) => None,
    };
    let Some(mut told) = told else { return Err(ended(id, run.as_ref())?) };
    // A server has told of them, unless its store does not answer.
    if matches!(source, Source::Store(_)) {
        told.verdicts = mentioned(&mut source, id);
    }
    if asked.json {
        writeln!(out, "{}", json!(told))?;
    } else {
        let now = Clock::starting_at_least(Timestamp::default()).now();
        let tree = Tree { now, paint: Paint::for_stdout(), columns: terminal::size().columns, option: source.option() };
        tree.write(&told, "", ("", ""), out)?;
        for told in told.dead_ends.iter().map(|end| dead_end(end, &source.option())) {
            wrap(&told, tree.columns, LINES_MAX).iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        for verdict in &told.verdicts {
            let told = part_of(verdict, now, &source.option());
            wrap(&told, tree.columns, LINES_MAX).iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
    }
    Ok(Exit::Success)
}

/// The newest verdicts that the run behind an id was part of, or one that it started. Should they not be found, the rest is
/// told all the same.
pub(super) fn mentioned(source: &mut Source, id: &str) -> Vec<rest::VerdictRef> {
    let own = run_of(id);
    let Ok(run) = own.parse() else { return Vec::new() };
    let filter = VerdictFilter { run: Some(run), ..VerdictFilter::default() };
    let found = source.verdicts(&filter, VERDICTS_MAX).unwrap_or_default();
    let mention = |verdict: rest::VerdictSummary| rest::VerdictRef {
        id: verdict.id,
        kind: verdict.kind,
        at: verdict.at,
        ended_at: verdict.ended_at,
        outcome: verdict.outcome,
        is_below: verdict.above.contains(&own),
    };
    found.into_iter().map(mention).collect()
}

/// Says beside an error which verdicts the run was part of.
fn mention(verdicts: &[rest::VerdictRef], option: &str) {
    let now = Clock::starting_at_least(Timestamp::default()).now();
    verdicts.iter().for_each(|verdict| eprint_quietly(&format!("note: {}\n", part_of(verdict, now, option))));
}

/// That a run was part of a verdict.
fn part_of(verdict: &rest::VerdictRef, now: Timestamp, option: &str) -> String {
    let who = if verdict.is_below { "a run that it started" } else { "its run" };
    format!("{who} was found {}", found(verdict, now, option))
}

/// As what a run was found.
pub(super) fn found(verdict: &rest::VerdictRef, now: Timestamp, option: &str) -> String {
    let rest::VerdictRef { id, kind, at, ended_at, outcome, .. } = verdict;
    let over = if ended_at.is_some() { ", over" } else { "" };
    let ago = time::ago(now, stamp(*at));
    format!("{kind} {ago} ({outcome}{over}): `unknot deadlocks show {id}{option}`")
}

/// Who can never move, where one reads of it, and what helps.
fn dead_end(end: &rest::DeadEnd, option: &str) -> String {
    let name = harmless(&end.name);
    let shown = end.verdict.as_ref().map(|id| format!(": `unknot deadlocks show {id}{option}`")).unwrap_or_default();
    let next = end.cancel.as_ref().map(|cancel| format!("; {}", cancel_advice(cancel, option))).unwrap_or_default();
    format!("the cause is {name}{shown}{next}")
}

/// What the process that owns the folder knows.
fn of_owner(config: &Config, id: &str) -> Result<Option<rest::Why>, Error> {
    let answer = control::ask(&config.data, &json!({"why": id})).map_err(Error::owner(&config.data))?;
    let answer = answer.ok_or_else(|| Error::NoServer { data: config.data.clone() })?;
    if let Some(message) = answer.get("error").and_then(Value::as_str) {
        return Err(Error::OwnerRefused { message: message.to_owned() });
    }
    Ok(serde_json::from_value(answer["why"].clone()).ok())
}

/// The answer to somebody at the control socket; nothing if it is no such question.
pub(crate) fn answer(engine: &Engine, request: &Value) -> Option<Value> {
    let id = request.get("why")?.as_str()?;
    let subject = id.parse().map(Subject::Run).or_else(|_| id.parse().map(Subject::Task));
    let Ok(subject) = subject else {
        return Some(json!({"error": format!("`{id}` is not the id of a run or a task")}));
    };
    let now = engine.now();
    let told = engine.peek_now(WITHIN, move |driver| wait::why(driver.state(), subject, now));
    Some(match told {
        None => json!({"error": "the brain did not come to the question in time"}),
        Some(told) => json!({"why": told.as_ref().map(view::why)}),
    })
}

fn ended(id: &str, run: Option<&rest::Run>) -> Result<Error, Error> {
    Ok(match run {
        Some(run) => Error::AlreadyEnded {
            run: run_id(run)?,
            status: read_word(&run.summary.status).unwrap_or(RunStatus::Completed),
        },
        None => Error::OwnerRefused { message: format!("task `{id}` waits for nothing: it has ended, or is none") },
    })
}

/// The run that the id of a run or a task names.
fn run_of(id: &str) -> String {
    let task = id.strip_prefix(TASK).and_then(|task| task.split_once('.'));
    task.map_or_else(|| id.to_owned(), |(run, _)| format!("run_{run}"))
}

/// The reasons as a tree.
struct Tree {
    now: Timestamp,
    paint: Paint,
    columns: usize,
    option: String,
}

impl Tree {
    /// A reason, with those below it. `first` stands before its first line, `rest` before the others; `within` is the run
    /// that was spoken of last.
    fn write(
        &self,
        told: &rest::Why,
        within: &str,
        (first, rest): (&str, &str),
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let name = harmless(&told.name);
        let own = run_of(&told.id);
        let run = if own == within { String::new() } else { format!("  {own}") };
        let head = format!("{first}{}{}", self.paint.tone(Tone::Strong, &name), self.paint.tone(Tone::Faint, &run));
        writeln!(out, "{head}")?;
        let has_below = !told.causes.is_empty() || told.more > 0 || told.is_cut;
        let below = format!("{rest}{}", if has_below { "│ " } else { "  " });
        let room = self.columns.saturating_sub(below.chars().count());
        for line in wrap(&told.sentence, room, LINES_MAX) {
            writeln!(out, "{below}{line}")?;
        }
        for line in wrap(&self.times(told), room, LINES_MAX) {
            writeln!(out, "{below}{}", self.paint.tone(Tone::Faint, &line))?;
        }
        if let Some(act) = self.act(told) {
            for line in wrap(&act, room, LINES_MAX) {
                writeln!(out, "{below}{}", self.paint.tone(Tone::Warn, &line))?;
            }
        }
        let last = told.causes.len() + usize::from(told.more > 0 || told.is_cut);
        for (place, cause) in (1..).zip(&told.causes) {
            let (branch, stem) = if place == last { ("└ ", "  ") } else { ("├ ", "│ ") };
            self.write(cause, &own, (&format!("{rest}{branch}"), &format!("{rest}{stem}")), out)?;
        }
        if told.is_cut {
            writeln!(out, "{rest}└ {}", self.paint.tone(Tone::Faint, "told elsewhere in this answer, or left out"))?;
        } else if told.more > 0 {
            writeln!(out, "{rest}└ {}", self.paint.tone(Tone::Faint, &format!("and {} more", told.more)))?;
        }
        Ok(())
    }

    fn times(&self, told: &rest::Why) -> String {
        let since = format!("for {}", time::length(self.now.since(stamp(told.since))));
        match (told.until, &told.then) {
            (Some(until), Some(then)) => {
                format!("{since}; in {} {then}", time::length(stamp(until).since(self.now)))
            }
            _ => since,
        }
    }

    /// What somebody can do about it, if it is somebody who moves it.
    fn act(&self, told: &rest::Why) -> Option<String> {
        let (name, option) = (told.mover_name.as_deref().unwrap_or_default(), &self.option);
        let run = run_of(&told.id);
        Some(match told.mover.as_str() {
            "signal" => format!("`unknot signal send {run} {name}{option}` moves it"),
            "decision" | "confirmation" => {
                format!("word of its worker, or `unknot decide {} retry{option}`, moves it", told.id)
            }
            "resume_run" => format!("`unknot resume run {name}{option}` moves it"),
            "resume_workflow" => format!("`unknot resume workflow {name}{option}` moves it"),
            "resume_queue" => format!("`unknot resume queue {name}{option}` moves it"),
            "new_worker" => "a worker that takes it moves it: `unknot worker`".to_owned(),
            "resize" => format!("more units of pool `{name}` in the configuration move it"),
            "server" => "`unknot serve`, or `unknot run` with its file, moves it".to_owned(),
            "nobody" => "nobody can move it: it is deadlocked, see below".to_owned(),
            "deadlock" => "nobody can move it while those that it waits for can never move: see below".to_owned(),
            "force" => format!("`unknot cancel {run} --force{option}` ends it"),
            _ => return None,
        })
    }
}
