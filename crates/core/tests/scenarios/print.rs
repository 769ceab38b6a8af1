//! How a story writes down what happened.

use crate::{story::Story, words::Words};
use std::collections::BTreeMap;
use unknot_core::{
    Decision, RunId, Timestamp,
    deadlock::Deadlock,
    effect::{Answer, Assignment, Effect, WaitAnswer, Work},
    event::Event,
    row::{Fact, HistoryEntry, HistoryKind, Row},
    run::{Child, Phase},
    wait::{self, DeadEnd, Described, Subject, Why},
    workflow::Command,
};

/// Lines of one event that are written one by one; more are counted by kind.
const LINES_MAX: usize = 24;

/// A decision: its history, what it wrote beside the live rows, and its effects.
pub(crate) fn decision(story: &Story, decision: &Decision) -> Vec<String> {
    let mut lines = Vec::new();
    if decision.history.len() > LINES_MAX {
        lines.extend(counted(decision.history.iter().map(|entry| word(entry.event))));
    } else {
        lines.extend(decision.history.iter().map(|entry| history(story, entry)));
    }
    lines.extend(decision.written.iter().filter_map(|(_, row)| written(story, row.as_ref())));
    if decision.effects.len() > LINES_MAX {
        lines.extend(counted(decision.effects.iter().map(|effect| format!("-> {}", kind(effect)))));
    } else {
        lines.extend(decision.effects.iter().map(|told| format!("-> {}", effect(story, told))));
    }
    lines
}

/// The lines, or if there are very many how often each kind came.
pub(crate) fn counted_if_many(lines: Vec<String>) -> Vec<String> {
    if lines.len() <= 4 * LINES_MAX {
        return lines;
    }
    counted(lines.iter().map(|line| kind_of_line(line).to_owned())).collect()
}

/// The kind of a line: its cause without what it was about, its word in capitals, or how it begins.
fn kind_of_line(line: &str) -> &str {
    let is_kind =
        |word: &&str| word.len() > 3 && word.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_');
    match line.strip_prefix('(').and_then(|line| line.split_once(") ")) {
        Some((_, cause)) => cause.split('(').next().unwrap_or(cause),
        None => line.split(' ').find(is_kind).unwrap_or(line.split(" r1").next().unwrap_or(line)),
    }
}

fn counted(words: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    words.for_each(|word| *counts.entry(word).or_default() += 1);
    counts.into_iter().map(|(word, count)| format!("{word} x {count}"))
}

/// The word that people read for a kind of history.
pub(crate) fn word(kind: HistoryKind) -> String {
    serde_json::to_value(kind).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn history(story: &Story, entry: &HistoryEntry) -> String {
    let run = story.runs.iter().find(|(_, (run, _))| *run == entry.run).map_or("?", |(name, _)| name);
    let task = entry.name.as_ref().map(|name| format!(".{name}")).unwrap_or_default();
    let attempt = entry.attempt.map(|number| format!("#{number}")).unwrap_or_default();
    let mut line = format!("{run}{task}{attempt} {}", word(entry.event));
    for (key, fact) in entry.detail.iter() {
        let text = match fact {
            Fact::Number(at) if key == "fenced_at" => moment(story, Timestamp(*at)),
            Fact::Text(text) => text.to_string(),
            Fact::Number(_) | Fact::Json(_) => fact.to_string(),
        };
        line.push_str(&format!(" {key}={text}"));
    }
    line
}

fn written(story: &Story, row: Option<&Row>) -> Option<String> {
    match row? {
        Row::DeadLetter(letter) => {
            let name = story.task_name(letter.task);
            Some(format!(
                "dead letter {name} after {} tries: {}: {}",
                letter.attempts, letter.error.reason, letter.error.message
            ))
        }
        Row::Deadlock(deadlock) => Some(verdict(deadlock)),
        Row::Quarantine(quarantined) => Some(format!("quarantined: {}: {}", quarantined.event, quarantined.error)),
        _ => None,
    }
}

fn verdict(deadlock: &Deadlock) -> String {
    let victims: Vec<String> = deadlock.victims.iter().map(ToString::to_string).collect();
    if deadlock.ended_at.is_some() {
        return format!("dl_{} is over", deadlock.seq.0);
    }
    let mut line = format!("{:?}, {:?}: victims {}", deadlock.kind, deadlock.outcome, victims.join(" "));
    if deadlock.behind > 0 {
        line.push_str(&format!("; {} behind", deadlock.behind));
    }
    deadlock.explanation.iter().for_each(|sentence| line.push_str(&format!("\n  {sentence}")));
    line
}

fn kind(effect: &Effect) -> &'static str {
    match effect {
        Effect::Start(_) => "start",
        Effect::Stop { .. } => "stop",
        Effect::Kill { .. } => "kill",
        Effect::Acknowledge { .. } => "acknowledge",
        Effect::Notify(_) => "tell",
        Effect::GiveUpAlert { .. } => "give up",
        Effect::Reply { .. } => "answer",
    }
}

/// One effect.
pub(crate) fn effect(story: &Story, effect: &Effect) -> String {
    match effect {
        Effect::Start(assignment) => start(story, assignment),
        Effect::Stop { worker, attempt, fence, reason } => {
            format!(
                "stop {}#{} on {worker} under fence {}: {reason:?}",
                story.task_name(attempt.task),
                attempt.number,
                fence.0
            )
        }
        Effect::Kill { worker, attempt, fence } => {
            format!("kill {}#{} on {worker} under fence {}", story.task_name(attempt.task), attempt.number, fence.0)
        }
        Effect::Acknowledge { attempt, accepted, .. } => {
            let verdict = if *accepted { "counted" } else { "refused" };
            format!("acknowledge {}#{}: {verdict}", story.task_name(attempt.task), attempt.number)
        }
        Effect::Notify(notice) => crate::alert::told(notice),
        Effect::GiveUpAlert { key, target, why } => {
            format!("give up {key} at {}: {why}", target.as_deref().unwrap_or("all"))
        }
        Effect::Reply { answer: Err(refusal), .. } => format!("refused: {refusal}"),
        Effect::Reply { answer: Ok(answer), .. } => match answer {
            Answer::Submitted { run, existing: false } => format!("answer: {run} is submitted"),
            Answer::Submitted { run, existing: true } => format!("answer: {run} was submitted before"),
            Answer::Cancelling { run, status, cancelled_tasks, since, reason } => {
                let since = moment(story, *since);
                format!("answer: {run} is {status} with {cancelled_tasks} tasks to end, since {since}: {reason}")
            }
            Answer::Signalled { is_named: true } => "answer: sent".to_owned(),
            Answer::Signalled { is_named: false } => "answer: sent, and nobody waits for it".to_owned(),
            Answer::Waits(WaitAnswer::Waiting { deadline }) => {
                format!("answer: waits until {}", moment(story, *deadline))
            }
            Answer::Waits(WaitAnswer::Met { granted, signals, children }) => {
                let mut line = "answer: met".to_owned();
                granted.iter().for_each(|(pool, units)| line.push_str(&format!(" {pool}:{units}")));
                signals.iter().for_each(|(name, payload)| line.push_str(&format!(" {name}={}", payload.0)));
                for (key, child) in children {
                    let output = child.output.as_ref().map_or("", |output| &output.0);
                    line.push_str(&format!(" {key}={}{output}", child.ended.map_or("", |end| end.word())));
                }
                line
            }
            Answer::Waits(WaitAnswer::Impossible { children }) => {
                let ended =
                    |(key, child): (&String, &Child)| format!(" {key}={}", child.ended.map_or("", |end| end.word()));
                format!("answer: impossible{}", children.iter().map(ended).collect::<String>())
            }
            Answer::Waits(WaitAnswer::TimedOut) => "answer: timed out".to_owned(),
            Answer::Waits(WaitAnswer::Withdrawn) => "answer: withdrawn".to_owned(),
            Answer::Spawned { run, existing: false } => format!("answer: {run} is spawned"),
            Answer::Spawned { run, existing: true } => format!("answer: {run} was spawned before"),
            Answer::Paused(pause) => format!("answer: held by {} since {}", pause.by, moment(story, pause.since)),
            Answer::Done => "answer: done".to_owned(),
        },
    }
}

fn start(story: &Story, assignment: &Assignment) -> String {
    let Assignment { worker, attempt, fence, work, time, .. } = assignment;
    let name = story.task_name(attempt.task);
    let mut line = format!("start {name}#{} on {worker} under fence {} for {time}", attempt.number, fence.0);
    if let Work::Exec { command, env, .. } = work {
        if let Command::Argv(argv) = command
            && argv.len() == 1
            && argv[0] != "true"
        {
            line.push_str(&format!(": {}", argv[0]));
        }
        for (name, value) in env {
            line.push_str(&format!(" {name}={value}"));
        }
    }
    if let Work::Handler(call) = work {
        line.push_str(&format!(": {} {}", call.handler, call.input));
    }
    if let Work::Http(call) = work {
        line.push_str(&format!(": {} {}", call.method, call.url));
        for (name, value) in &call.headers {
            line.push_str(&format!(" {name}={value}"));
        }
        if let Some(body) = &call.body {
            line.push_str(&format!(" {body}"));
        }
    }
    line
}

/// The line for an event that was due; none for those that only go on.
pub(crate) fn due(event: &Event) -> Option<String> {
    match event {
        Event::DeadlinePassed(deadline) => Some(format!("{deadline:?}")),
        Event::ContinuationDue(_) => Some("goes on".to_owned()),
        Event::GrantsDue => Some("more grants".to_owned()),
        _ => None,
    }
}

/// A moment, counted from the story's begin.
pub(crate) fn moment(story: &Story, at: Timestamp) -> String {
    format!("+{}", story.world.elapsed(at))
}

/// A line with the names of runs and tasks instead of their ids.
pub(crate) fn named(story: &Story, line: &str) -> String {
    let mut line = line.to_owned();
    for (name, (run, definition)) in &story.runs {
        let id = run.to_string();
        let ulid = id.trim_start_matches("run_");
        if !line.contains(ulid) {
            continue;
        }
        for (index, task) in definition.body.indexed() {
            for prefix in ["task", "att"] {
                // With the dot that follows, so that 1 is not taken for 12.
                line = line.replace(&format!("{prefix}_{ulid}.{}.", index.0), &format!("{name}.{}#", task.name));
            }
            if let Some(place) = line.find(&format!("task_{ulid}.{}", index.0)) {
                let end = place + format!("task_{ulid}.{}", index.0).len();
                if !line[end..].starts_with(|letter: char| letter.is_ascii_digit()) {
                    line.replace_range(place..end, &format!("{name}.{}", task.name));
                }
            }
        }
        line = line.replace(&id, name);
    }
    line
}

/// What a story asks to see.
pub(crate) fn answer(story: &mut Story, command: &str, mut words: Words) {
    match command {
        "show" => {
            let name = words.next().unwrap_or_else(|| story.latest.clone());
            let run = story.run(&name);
            for line in show(story, &name, run) {
                story.note(line);
            }
        }
        "waits" => {
            for line in waits(story) {
                story.note(line);
            }
        }
        "why" => {
            let name = words.word("a run or a task");
            let subject = match story.runs.get(&name) {
                Some((run, _)) => Subject::Run(*run),
                None => Subject::Task(story.task(&name)),
            };
            match wait::why(&story.world.state, subject, story.world.now) {
                Some(told) => {
                    reasons(story, &told, 0);
                    told.dead_ends.iter().for_each(|end| dead_end(story, end));
                }
                None => story.note("it has ended"),
            }
        }
        "pools" => {
            for line in pools(story) {
                story.note(line);
            }
        }
        "steps" => {
            let most: usize = words.number("the bound");
            assert!(story.world.changes_max <= most, "an event changed {} rows", story.world.changes_max);
            story.note(format!("no event changed more than {most} rows"));
        }
        "letters" => {
            let lines: Vec<String> = story.world.rows.values().filter_map(|row| written(story, Some(row))).collect();
            lines.into_iter().for_each(|line| story.note(line));
        }
        _ => {}
    }
    words.end();
}

/// A line for each reason, those below it further in.
fn reasons(story: &mut Story, told: &Why, depth: usize) {
    let name = match told.subject {
        Subject::Run(run) => {
            let known = story.runs.iter().find(|(_, (id, _))| *id == run);
            known.map_or_else(|| run.to_string(), |(name, _)| name.clone())
        }
        Subject::Task(task) => story.task_name(task),
    };
    let mover = told.mover.name().map_or_else(String::new, |name| format!(" {name}"));
    let cut = if told.is_cut { ", told elsewhere" } else { "" };
    let more = if told.more > 0 { format!(", and {} more", told.more) } else { String::new() };
    let (indent, word) = ("  ".repeat(depth), told.mover.word());
    story.note(format!("{indent}{name} {} [{word}{mover}{cut}{more}]", told.sentence));
    told.causes.iter().for_each(|cause| reasons(story, cause, depth + 1));
}

/// Who can never move, and what a person can do about it.
fn dead_end(story: &mut Story, end: &DeadEnd) {
    let verdict = end.verdict.map_or_else(String::new, |verdict| format!(" ({verdict})"));
    let cancel = end.cancel.as_ref().map_or_else(String::new, |cancel| {
        let runs: Vec<String> = cancel.runs.iter().map(ToString::to_string).collect();
        format!("; cancel {}{}", runs.join(" and "), if cancel.ends_all { ", which ends them all" } else { "" })
    });
    story.note(format!("{}: {}{verdict}{cancel}", end.kind.word(), end.name));
}

fn show(story: &Story, name: &str, id: RunId) -> Vec<String> {
    let Some(run) = story.world.state.runs.get(&id) else {
        let finished = story.finished().find(|finished| finished.run.id == id);
        let status = finished.map_or_else(|| "unknown".to_owned(), |finished| finished.status.to_string());
        return vec![format!("{name} {status}")];
    };
    let definition = &story.world.state.definitions[&run.definition];
    let mut marks = String::new();
    if run.paused.is_some() {
        marks.push_str(" (paused)");
    }
    if let Some(error) = &run.poisoned {
        marks.push_str(&format!(" (poisoned: {error})"));
    }
    let mut lines = vec![format!("{name} {}{marks}", run.status())];
    if run.tasks.len() > LINES_MAX {
        lines.extend(counted(run.tasks.iter().map(|task| format!("  {}", task.status()))));
        return lines;
    }
    for (index, task) in run.indexed_tasks() {
        let mut line = format!("  {} {}", definition.task(index).name, task.status());
        match &task.phase {
            Phase::Waiting(wait) => {
                line.push_str(&format!(" since {} until {}", moment(story, wait.since), moment(story, wait.deadline)));
            }
            Phase::Leased(lease) => {
                line.push_str(&format!(" on {} until {}", lease.worker, moment(story, lease.deadline)));
            }
            Phase::Ended(end) => {
                line.push_str(&format!(" at {}", moment(story, end.at)));
                if let Some(reason) = &end.reason {
                    line.push_str(&format!(": {reason}"));
                }
            }
        }
        lines.push(line);
    }
    lines
}

/// The wait table: who waits for what, since when, until when, what then; and the verdict over all of it.
fn waits(story: &Story) -> Vec<String> {
    let state = &story.world.state;
    let mut lines = Vec::new();
    for run in state.runs.values() {
        for (index, _) in run.indexed_tasks() {
            let id = run.id.task(index);
            let Some(described) = wait::describe(state, id) else { continue };
            let Described { sentence, since, bound } = described;
            let bound = bound.map(|bound| format!(", at {} {}", moment(story, bound.at), bound.then));
            let (name, since, bound) = (story.task_name(id), moment(story, since), bound.unwrap_or_default());
            lines.push(format!("{name} {sentence}; since {since}{bound}"));
        }
    }
    let verdict = wait::reduce(&wait::snapshot(state, story.world.now));
    let nodes = |what: &str, ids: &[String]| match ids {
        [] => String::new(),
        ids => format!(", {what}: {}", ids.join(" ")),
    };
    let (dead, outside) = (nodes("dead", &verdict.deadlocked), nodes("needs the outside", &verdict.needs_external));
    lines.push(format!("verdict: {:?}{dead}{outside}", verdict.verdict));
    lines
}

fn pools(story: &Story) -> Vec<String> {
    let state = &story.world.state;
    let line = |(name, pool): (&String, &unknot_core::settings::Pool)| {
        let held = state.volatile.held.get(name).copied().unwrap_or_default();
        let closed = pool.poisoned.as_ref().map(|poison| format!(", closed: {}", poison.message)).unwrap_or_default();
        format!("{name} {held} of {} taken{closed}", pool.size)
    };
    state.pools.iter().map(line).collect()
}
