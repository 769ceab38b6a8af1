//! The commands of a story.
//!
//! * what happens: `worker NAME [boot N] [slots N] [queues A,B] [kinds A,B]`, `leave NAME`, `submit RUN WORKFLOW [input JSON]
//!   [in TIME] [key KEY [body BODY]] [read_at COMMIT] [retry RUN]`, `start A`, `renew A`, `end A ok [JSON] | big BYTES |
//!   fail [exit N] [REASON] | stopped | launch [for_good | short] | released | lost [alive] [big N] |
//!   unkillable`, `cancel RUN [force]`, `signal RUN NAME [JSON | big BYTES]`, `pause|resume queue|workflow|run NAME [by WHOM]`,
//!   `focus RUN… | all`, `decide TASK
//!   retry|fail`, `ask A …` (see `ask.rs`), `set POOL SIZE [lend] | gone`, `drop TASK`, `poison RUN ERROR`, `quarantine EVENT [RUN]`;
//! * `name RUN TASK KEY` calls a run by a name that the brain has made for a task;
//! * alerts: see `alert.rs`;
//! * settings: `pool NAME SIZE [lend]`, `resolve | alert`, `stale PENDING WORKFLOW`, `queue NAME [max N] [retries N] [lease TIME] [ages TIME]`, `bound NAME N`;
//! * the world: `advance TIME`, `skip TIME`, `turn [N | all]`, `by hand | itself`, `reload`, `chance least|even|most`;
//! * the monitor: `scan` looks for those that stand still, and reports them; `look` only looks, and `report` sends that;
//! * questions: `show [RUN]`, `waits`, `why RUN|TASK`, `pools`, `letters`, `steps MOST`.

use crate::{print, story::Story, words::Words, world::EVEN_CHANCE};
use unknot_core::{
    deadlock::Policy,
    due,
    event::{
        AttemptEnd, CancelRequest, Decision, Event, Facts, LaunchFault, NextTry, Outcome, PauseTarget, SignalRequest,
        Submission, TakeOver,
    },
    row::{Detail, Key, Quarantined, Row},
    run::{Idempotency, JsonText, TaskEnd, WorkerId},
    settings::PoolSettings,
    worker::{Serves, WorkKind},
};

/// Lets one command happen.
pub(crate) fn obey(story: &mut Story, mut words: Words) {
    let command = words.word("a command");
    match command.as_str() {
        "worker" | "leave" => worker(story, &command, words),
        "submit" => submit(story, words),
        "ask" => crate::ask::ask(story, words),
        "name" => {
            let (name, task) = (words.word("the run's name"), words.word("a task"));
            let (task, key) = (story.task(&task), words.word("a key"));
            let run = story.world.state.children[&task][&key].run;
            story.runs.insert(name, (run, story.world.state.definition(run)));
        }
        "set" => set_pool(story, words),
        "target" | "rate" | "rules" | "raise" | "over" | "sent" | "unsent" | "alerts" => {
            crate::alert::obey(story, &command, words);
        }
        "start" | "renew" => report(story, &command, words),
        "end" => end(story, words),
        "advance" => advance(story, words),
        "skip" => skip(story, words),
        "turn" => turn(story, words),
        "cancel" => cancel(story, words),
        "signal" => signal(story, words),
        "pause" | "resume" => pause(story, &command, words),
        "focus" => focus(story, words),
        "decide" => decide(story, words),
        "drop" => {
            let task = story.task(&words.word("a task"));
            let caller = story.caller();
            story.happen(Event::DeadLetterDropped { task, caller });
        }
        "poison" => {
            let run = story.run(&words.word("a run"));
            story.happen(Event::RunPoisoned { run, error: words.word("an error") });
        }
        "quarantine" => quarantine(story, words),
        "pool" | "queue" | "bound" => settings(story, &command, words),
        "resolve" | "alert" => {
            story.world.settings.monitor.cancel_on_deadlock = command == "resolve";
            let settings = story.world.settings.clone();
            story.happen(Event::SettingsApplied(Box::new(settings)));
        }
        "stale" => {
            let monitor = &mut story.world.settings.monitor;
            (monitor.pending_stale, monitor.workflow_stale) = (words.length("pending"), words.length("workflow"));
            let settings = story.world.settings.clone();
            story.happen(Event::SettingsApplied(Box::new(settings)));
        }
        "scan" | "look" | "report" => scan(story, &command),
        "reload" => reload(story),
        "chance" => chance(story, words),
        "by" => story.by_hand = words.word("`hand` or `itself`") == "hand",
        "show" | "waits" | "why" | "pools" | "letters" | "steps" => print::answer(story, &command, words),
        _ => panic!("no command `{command}`"),
    }
}

/// The monitor looks, or tells what it saw when it last did.
fn scan(story: &mut Story, command: &str) {
    if command != "report" {
        let seen = story.world.look();
        story.note(format!("{} stand still: {} new, {} over", seen.0.stuck, seen.0.found.len(), seen.0.over.len()));
        story.seen = seen.1;
    }
    if command != "look" {
        let (findings, caller) = (Box::new(std::mem::take(&mut story.seen)), story.caller());
        story.happen(Event::FindingsReported { findings, caller });
    }
}

fn set_pool(story: &mut Story, mut words: Words) {
    let name = words.word("a pool");
    let pool = match words.word("its size").as_str() {
        "gone" => None,
        size => Some(PoolSettings { size: size.parse().expect("a size"), lend: words.take("lend"), on_deadlock: None }),
    };
    words.end();
    let caller = story.caller();
    story.happen(Event::PoolSet { name, pool, caller });
}

fn worker(story: &mut Story, command: &str, mut words: Words) {
    let name = words.word("the worker's name");
    if words.take("boot") {
        story.boots.insert(name.clone(), words.number("boot"));
    }
    let worker = WorkerId { boot: story.boots.get(&name).copied().unwrap_or(1), name: name.into() };
    match command {
        "leave" => story.happen(Event::WorkerLeft { worker }),
        _ => {
            let slots = if words.take("slots") { words.number("slots") } else { 1 };
            let mut serves = Serves::default();
            if words.take("queues") {
                serves.queues = Some(words.word("queues").split(',').map(Into::into).collect());
            }
            if words.take("kinds") {
                let kinds = words.word("kinds");
                let known =
                    WorkKind::BUILT_IN.into_iter().filter(|kind| kinds.split(',').any(|word| word == kind.word()));
                serves.kinds = Some(known.collect());
            }
            if words.take("handlers") {
                let handlers = words.word("handlers");
                let handlers = handlers.split(',').map(|name| WorkKind::Handler(name.into()));
                serves.kinds.get_or_insert_default().extend(handlers);
            }
            story.happen(Event::WorkerJoined { worker, slots, serves: Box::new(serves) });
        }
    }
    words.end();
}

fn submit(story: &mut Story, mut words: Words) {
    let name = words.word("the run's name");
    let workflow = words.word("the workflow's name");
    let definition = story.workflows.get(&workflow).unwrap_or_else(|| panic!("no workflow `{workflow}`")).clone();
    let run = unknot_core::RunId::from_parts(crate::world::BEGIN.0, story.runs.len() as u128 + 1);
    let mut submission = Submission {
        labels: std::collections::BTreeMap::new(),
        calls: crate::ask::calls(story, &definition),
        facts: Facts { as_of: story.world.state.commit(), ..Facts::default() },
        caller: story.caller(),
        ..Submission::of(run, definition.clone())
    };
    let mut stale = None;
    while let Some(key) = words.next() {
        match key.as_str() {
            "input" => submission.input = JsonText(words.word("the input").into()),
            "in" => submission.start_at = Some(story.world.now.plus(words.length("when"))),
            "key" => {
                let key = words.word("the key");
                let body_hash = if words.take("body") { words.word("the body") } else { "body".to_owned() };
                submission.idempotency = Some(Idempotency { key, body_hash });
            }
            "retry" => {
                let before = story.run(&words.word("the run that ended"));
                submission.takes_over = Some(taken_over(story, before));
            }
            // What the store knew when the command was read, if that was earlier.
            "read_at" => stale = Some(words.number("the commit")),
            _ => panic!("a submission has no `{key}`"),
        }
    }
    match stale {
        Some(commit) => submission.facts.as_of = unknot_core::CommitSeq(commit),
        None => submission.facts.key_owner = owner_of(story, submission.idempotency.as_ref()),
    }
    story.runs.insert(name.clone(), (run, definition));
    story.latest = name;
    story.happen(Event::RunSubmitted(Box::new(submission)));
}

/// What a finished run leaves to one that takes it further: its completions and its dead letters.
fn taken_over(story: &Story, run: unknot_core::RunId) -> TakeOver {
    let finished = story.finished().find(|finished| finished.run.id == run).expect("a run that ended");
    let inline = finished.run.indexed_tasks().map(|(index, task)| (index, task.clone()));
    let apart = story.world.rows.iter().filter_map(|(key, row)| match (key, row) {
        (Key::Task(task), Row::Task(content)) if task.run == run => Some((task.index, (**content).clone())),
        _ => None,
    });
    let completed = inline.chain(apart).filter_map(|(index, task)| {
        let is_done = task.end().is_some_and(|end| end.status == TaskEnd::Completed);
        is_done.then(|| (index, task.output.unwrap_or_else(JsonText::null)))
    });
    let letters = story.world.rows.keys().filter_map(|key| match key {
        Key::DeadLetter(task) if task.run == run => Some(*task),
        _ => None,
    });
    TakeOver { run, completed: completed.collect(), letters: letters.collect() }
}

/// The finished run that owns a key, as the store's index says.
fn owner_of(story: &Story, asked: Option<&Idempotency>) -> Option<(unknot_core::RunId, String)> {
    let mut owners = story.finished().filter_map(|finished| {
        let own = finished.run.idempotency.as_ref().filter(|own| Some(&own.key) == asked.map(|asked| &asked.key))?;
        Some((finished.run.id, own.body_hash.clone()))
    });
    owners.next()
}

fn report(story: &mut Story, command: &str, mut words: Words) {
    let (attempt, fence) = story.attempt(&words.word("an attempt"));
    story.happen(match command {
        "start" => Event::AttemptStarted { attempt, fence },
        _ => Event::AttemptRenewed { attempt, fence },
    });
    words.end();
}

fn end(story: &mut Story, mut words: Words) {
    let (attempt, fence) = story.attempt(&words.word("an attempt"));
    let message = || "as the story goes".to_owned();
    let outcome = match words.word("an outcome").as_str() {
        "ok" => {
            Outcome::Succeeded { output: words.next().map_or_else(JsonText::null, |output| JsonText(output.into())) }
        }
        "big" => Outcome::Succeeded { output: JsonText(format!("\"{}\"", "x".repeat(words.number("bytes"))).into()) },
        "fail" => {
            let exit = words.take("exit").then(|| words.number("the exit status"));
            let next_try = match (words.take("useless"), words.take("not_before")) {
                (true, _) => NextTry::Useless,
                (_, true) => NextTry::NotBefore(words.length("how long")),
                _ => NextTry::AsUsual,
            };
            let reason = words.next().unwrap_or_else(|| "exit".to_owned());
            Outcome::Failed { reason, message: message(), exit, next_try }
        }
        "stopped" => Outcome::Stopped,
        "released" => Outcome::Released,
        "launch" => {
            let fault = match (words.take("for_good"), words.take("short")) {
                (true, _) => LaunchFault::Lasting,
                (_, true) => LaunchFault::Shortage,
                _ => LaunchFault::Passing,
            };
            Outcome::LaunchFailed { message: message(), fault }
        }
        "lost" => {
            let confirmed_dead = !words.take("alive");
            let message = if words.take("big") { "x".repeat(words.number("characters")) } else { message() };
            Outcome::Lost { message, confirmed_dead }
        }
        "unkillable" => Outcome::Unkillable { message: message() },
        other => panic!("no outcome `{other}`"),
    };
    words.end();
    story.happen(Event::AttemptEnded(Box::new(AttemptEnd { attempt, fence, outcome, detail: Detail::NONE })));
}

/// Time passes; whatever becomes due on the way happens at its moment.
fn advance(story: &mut Story, mut words: Words) {
    let end = story.world.now.plus(words.length("how long"));
    words.end();
    story.follow();
    while let Some(moment) = story.world.next_moment(end) {
        story.world.now = moment.max(story.world.now);
        story.follow();
    }
    story.world.now = end;
}

/// Time passes and the brain is not there: the clock was set forward, or everything stood still.
fn skip(story: &mut Story, mut words: Words) {
    let since = story.world.now;
    story.world.now = since.plus(words.length("how long"));
    words.end();
    story.happen(Event::TimeSkipped { since });
    story.follow();
}

/// So many events of those that are due; `all` of them.
fn turn(story: &mut Story, mut words: Words) {
    match words.next().as_deref() {
        None => story.turn(),
        Some("all") => story.follow(),
        Some(times) => {
            let times: u32 = times.parse().expect("how many turns");
            (0..times).for_each(|_| story.turn());
        }
    }
}

fn cancel(story: &mut Story, mut words: Words) {
    let run = story.run(&words.word("a run"));
    let force = words.take("force");
    let ended = story.finished().find(|finished| finished.run.id == run).map(|finished| finished.status);
    let mut facts = Facts { as_of: story.world.state.commit(), key_owner: None, ended };
    if words.take("read_at") {
        facts = Facts { as_of: unknot_core::CommitSeq(words.number("the commit")), ..Facts::default() };
    }
    words.end();
    let reason = if force { "now" } else { "not needed" };
    let request = CancelRequest { reason: reason.to_owned(), by: "ann".to_owned(), force, facts };
    let caller = story.caller();
    story.happen(Event::RunCancelRequested { run, request, caller });
}

fn signal(story: &mut Story, mut words: Words) {
    let run = story.run(&words.word("a run"));
    let name = words.word("a signal");
    let payload = match words.next().as_deref() {
        None => JsonText::null(),
        Some("big") => JsonText(format!("\"{}\"", "x".repeat(words.number("bytes"))).into()),
        Some(payload) => JsonText(payload.into()),
    };
    words.end();
    let ended = story.finished().find(|finished| finished.run.id == run).map(|finished| finished.status);
    let facts = Facts { as_of: story.world.state.commit(), key_owner: None, ended };
    let signal = SignalRequest { name, payload, by: "ann".to_owned(), facts };
    let caller = story.caller();
    story.happen(Event::SignalSent { run, signal: Box::new(signal), caller });
}

fn pause(story: &mut Story, command: &str, mut words: Words) {
    let kind = words.word("what");
    let name = words.word("its name");
    let by = if words.take("by") { words.word("who") } else { "ann".to_owned() };
    words.end();
    let target = match kind.as_str() {
        "queue" => PauseTarget::Queue(name),
        "workflow" => PauseTarget::Workflow(name),
        "run" => PauseTarget::Run(story.run(&name)),
        _ => panic!("no `{kind}` can be held"),
    };
    let caller = story.caller();
    story.happen(match command {
        "pause" => Event::Paused { target, by, caller },
        _ => Event::Resumed { target, by, caller },
    });
}

fn focus(story: &mut Story, mut words: Words) {
    let mut runs = std::collections::BTreeSet::new();
    while let Some(name) = words.next() {
        if name == "all" {
            return story.happen(Event::RunsFocused(None));
        }
        runs.insert(story.run(&name));
    }
    story.happen(Event::RunsFocused(Some(runs)));
}

fn decide(story: &mut Story, mut words: Words) {
    let task = story.task(&words.word("a task"));
    let decision = match words.word("a decision").as_str() {
        "retry" => Decision::Retry,
        "fail" => Decision::Fail,
        other => panic!("no decision `{other}`"),
    };
    let caller = story.caller();
    story.happen(Event::TaskDecided { task, decision, caller });
}

fn quarantine(story: &mut Story, mut words: Words) {
    let event = words.word("an event");
    let run = words.next().map(|run| story.run(&run));
    let at = story.world.now;
    let (error, version) = ("it failed alone".to_owned(), "0".to_owned());
    story.happen(Event::EventQuarantined(Box::new(Quarantined { event, error, run, version, at })));
}

/// Changes one setting and has all of them read again.
fn settings(story: &mut Story, command: &str, mut words: Words) {
    let settings = &mut story.world.settings;
    let name = words.word("a name");
    match command {
        "pool" => {
            let size = words.number("its size");
            let lend = words.take("lend");
            let on_deadlock = words.take("cancel").then_some(Policy::Cancel);
            settings.pools.insert(name, PoolSettings { size, lend, on_deadlock });
        }
        "queue" => {
            let queue = settings.queues.entry(name).or_default();
            while let Some(key) = words.next() {
                match key.as_str() {
                    "max" => queue.max_queue_size = words.number("max"),
                    "retries" => queue.max_retries = words.number("retries"),
                    "lease" => queue.visibility_timeout = words.length("lease"),
                    "ages" => queue.low_counts_as_high_after = words.length("ages"),
                    _ => panic!("a queue has no `{key}`"),
                }
            }
        }
        _ => {
            let value: u32 = words.number("a bound");
            let bounds = &mut settings.bounds;
            match name.as_str() {
                "live_tasks_max" => bounds.live_tasks_max = value,
                "lost_max" => bounds.lost_max = value,
                "launch_failures_max" => bounds.launch_failures_max = value,
                "step_changes_max" => bounds.step_changes_max = value as usize,
                "input_bytes_max" => bounds.input_bytes_max = value as usize,
                "output_bytes_max" => bounds.output_bytes_max = value as usize,
                "run_output_bytes_max" => bounds.run_output_bytes_max = value.into(),
                _ => panic!("no bound `{name}`"),
            }
        }
    }
    words.end();
    let settings = story.world.settings.clone();
    story.happen(Event::SettingsApplied(Box::new(settings)));
}

/// The process dies and another one loads what was stored. Workers, focus and unwritten news are gone;
/// derived effects are performed again for workers named in the story as present.
fn reload(story: &mut Story) {
    story.world.reload();
    for outstanding in due::outstanding(&story.world.state) {
        let name = story.task_name(outstanding.attempt.task);
        story.note(format!("outstanding: {name}#{} on {}", outstanding.attempt.number, outstanding.worker));
    }
    for effect in due::effects_due(&story.world.state, |_| true) {
        let line = print::effect(story, &effect);
        story.note(format!("again: {line}"));
    }
}

fn chance(story: &mut Story, mut words: Words) {
    story.world.chance = match words.word("which").as_str() {
        "least" => 0,
        "most" => u64::MAX,
        "even" => EVEN_CHANCE,
        other => panic!("no chance `{other}`"),
    };
}
