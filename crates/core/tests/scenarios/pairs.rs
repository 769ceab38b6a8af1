//! Every event in every state: the whole table, `pairs.table`, and what each pair leads to.
//!
//! A story's prelude brings the world into a state; then one event meets it, whether it makes sense
//! there or not. Reports come under the fence of the newest attempt, or one that never was. A deadline
//! that the state does not wait for can not come from the driver; the table says so, and it must change
//! nothing.

use crate::{
    coverage::{self, Coverage, RUN_EVENTS, RUN_STATES, TASK_EVENTS, TASK_STATES},
    story::{self, Story},
};
use std::collections::BTreeMap;
use unknot_core::{
    Fence, Seq,
    deadline::Deadline,
    event::{
        Ask, AttemptEnd, CancelRequest, Decision, Event, Facts, LaunchFault, NextTry, Outcome, PauseTarget,
        SignalRequest,
    },
    row::Detail,
    run::{AtDeadline, Awaited, JsonText},
};

/// How a task `a` comes into a state; `z` keeps its run alive.
fn task_prelude(state: &str) -> &'static str {
    match state {
        "needs" => "workflow f\n  task x\n  task a needs x\n  task z\n\n> submit r1 f\n",
        "queued" => "workflow f\n  task a queue_timeout 1m\n  task z\n\n> submit r1 f\n",
        "backoff" => {
            "workflow f\n  task a retry 3\n  task z\n\n> worker far slots 2\n> submit r1 f\n> end a fail exit 1\n"
        }
        "sleeping" => "workflow f\n  task a sleep 10s\n  task z\n\n> submit r1 f\n",
        "awaiting" => "workflow f\n  task a signal go timeout 10s\n  task z\n\n> submit r1 f\n",
        "held" => "workflow f\n  task a on_lost hold\n  task z\n\n> worker far slots 2\n> submit r1 f\n> end a lost\n",
        "suspected" => "workflow f\n  task a\n  task z\n\n> worker far slots 2\n> submit r1 f\n> end a lost alive\n",
        "granted" => "workflow f\n  task a retry 2 locks l\n  task z\n\n> worker far slots 2\n> submit r1 f\n",
        "started" => {
            "workflow f\n  task a retry 2 locks l\n  task z\n\n> worker far slots 2\n> submit r1 f\n> start a\n"
        }
        "parked" => {
            "workflow f\n  task a retry 2 locks l\n  task z\n\n> worker far slots 2\n> submit r1 f\n> start a\n> ask a wait w signal:go within 5s\n"
        }
        "stopping" => {
            "workflow f\n  task a timeout 10s retry 2 locks l\n  task z\n\n> worker far slots 2\n> submit r1 f\n> start a\n> advance 10s\n"
        }
        "succeeded" => "workflow f\n  task a\n  task z\n\n> worker far slots 2\n> submit r1 f\n> end a ok\n",
        "ended otherwise" => {
            "workflow f\n  task a on_failure continue\n  task z\n\n> worker far slots 2\n> submit r1 f\n> end a fail exit 1\n"
        }
        "frozen" => {
            "workflow f\n  task a\n  task z\n\n> worker far slots 2\n> submit r1 f\n> start a\n> poison r1 bad\n"
        }
        "gone" => "workflow f\n  task a\n\n> worker far slots 2\n> submit r1 f\n> end a ok\n",
        _ => panic!("no prelude for `{state}`"),
    }
}

/// How a run comes into a state.
fn run_prelude(state: &str) -> &'static str {
    match state {
        "pending" => "workflow f\n  task a\n\n> submit r1 f in 1h\n",
        "running" => "workflow f\n  task a\n\n> worker far slots 1\n> submit r1 f\n> start a\n",
        "paused" => "workflow f\n  task a\n\n> worker far slots 1\n> submit r1 f\n> pause run r1\n",
        "ending" => "workflow f\n  task a\n\n> worker far slots 1\n> submit r1 f\n> start a\n> cancel r1\n",
        "poisoned" => "workflow f\n  task a\n\n> worker far slots 1\n> submit r1 f\n> start a\n> poison r1 bad\n",
        "gone" => "workflow f\n  task a\n\n> worker far slots 1\n> submit r1 f\n> end a ok\n",
        _ => panic!("no prelude for `{state}`"),
    }
}

/// How a run comes into a state with work left for later steps; some states drop it, or have none yet.
fn continued_prelude(state: &str) -> String {
    let begin = "workflow f\n  task a\n  tasks t 8\n\n> bound step_changes_max 4\n> worker far slots 1\n> by hand\n";
    let then = match state {
        "pending" => "> submit r1 f in 1h\n",
        "running" => "> submit r1 f\n",
        "paused" => "> submit r1 f\n> pause run r1\n",
        "ending" => "> submit r1 f\n> turn all\n> cancel r1\n",
        "poisoned" => "> submit r1 f\n> poison r1 bad\n",
        "gone" => "> submit r1 f\n> turn all\n> cancel r1 force\n> turn all\n",
        _ => panic!("no prelude for `{state}`"),
    };
    format!("{begin}{then}")
}

/// The event of this name, as it would meet task `a` of run `r1`; and whether the state waits for it, if
/// it is a deadline.
fn event(story: &mut Story, name: &str) -> (Event, bool) {
    let (run, task) = (story.run("r1"), story.task("a"));
    let newest = story.fences.iter().rev().find(|(attempt, _)| attempt.task == task);
    let (attempt, fence) = newest.map_or((task.attempt(1), Fence(u64::MAX)), |(attempt, fence)| (*attempt, *fence));
    let caller = story.caller();
    let message = || "as the table goes".to_owned();
    let ended = |outcome| Event::AttemptEnded(Box::new(AttemptEnd { attempt, fence, outcome, detail: Detail::NONE }));
    let asked = |ask| Event::AttemptAsked { attempt, fence, ask: Box::new(ask), caller };
    let cancel = |force| {
        let request = CancelRequest { reason: message(), by: "ann".to_owned(), force, facts: Facts::default() };
        Event::RunCancelRequested { run, request, caller }
    };
    let (target, by) = (PauseTarget::Run(run), "ann".to_owned());
    let event = match name {
        "AttemptStarted" => Event::AttemptStarted { attempt, fence },
        "AttemptRenewed" => Event::AttemptRenewed { attempt, fence },
        "AttemptEnded Succeeded" => ended(Outcome::Succeeded { output: JsonText::null() }),
        "AttemptEnded Failed" => ended(Outcome::Failed {
            reason: "exit".to_owned(),
            message: message(),
            exit: Some(1),
            next_try: NextTry::AsUsual,
        }),
        "AttemptEnded Stopped" => ended(Outcome::Stopped),
        "AttemptEnded LaunchFailed" => ended(Outcome::LaunchFailed { message: message(), fault: LaunchFault::Passing }),
        "AttemptEnded Released" => ended(Outcome::Released),
        "AttemptEnded Lost" => ended(Outcome::Lost { message: message(), confirmed_dead: false }),
        "AttemptEnded Unkillable" => ended(Outcome::Unkillable { message: message() }),
        "AttemptAsked Wait" => {
            let on = Awaited::Signal { name: "stay".to_owned(), from: Vec::new() };
            asked(Ask::Wait { name: "v".to_owned(), on, within: None, then: AtDeadline::GiveUp })
        }
        "AttemptAsked Withdraw" => asked(Ask::Withdraw { name: "w".to_owned() }),
        "AttemptAsked Release" => asked(Ask::Release { units: BTreeMap::from([("l".to_owned(), 1)]) }),
        "AttemptAsked Spawn" => asked(Ask::Spawn {
            key: "k".to_owned(),
            submission: Box::new(crate::ask::child(story, "k", "f")),
            detached: false,
        }),
        "TaskDecided Retry" => Event::TaskDecided { task, decision: Decision::Retry, caller },
        "TaskDecided Fail" => Event::TaskDecided { task, decision: Decision::Fail, caller },
        "RunCancelRequested" => cancel(false),
        "RunCancelRequested force" => cancel(true),
        "SignalSent" => {
            let signal = SignalRequest {
                name: "go".to_owned(),
                payload: JsonText::null(),
                by: "ann".to_owned(),
                facts: Facts::default(),
            };
            Event::SignalSent { run, signal: Box::new(signal), caller }
        }
        "Paused Run" => Event::Paused { target, by, caller },
        "Resumed Run" => Event::Resumed { target, by, caller },
        "RunPoisoned" => Event::RunPoisoned { run, error: message() },
        "ContinuationDue" => {
            let first = story.world.state.continuations.keys().next();
            Event::ContinuationDue(first.copied().unwrap_or(Seq(u64::MAX)))
        }
        "DeadlinePassed TaskWait" => Event::DeadlinePassed(Deadline::TaskWait(task)),
        "DeadlinePassed CountsAsHigh" => Event::DeadlinePassed(Deadline::CountsAsHigh(task)),
        "DeadlinePassed AttemptTimeout" => Event::DeadlinePassed(Deadline::AttemptTimeout(attempt)),
        "DeadlinePassed LeaseExpiry" => Event::DeadlinePassed(Deadline::LeaseExpiry(attempt)),
        "DeadlinePassed Heartbeat" => Event::DeadlinePassed(Deadline::Heartbeat(attempt)),
        "DeadlinePassed AttemptTimer" => Event::DeadlinePassed(Deadline::AttemptTimer(attempt)),
        "DeadlinePassed AttemptWait" => Event::DeadlinePassed(Deadline::AttemptWait(attempt)),
        "DeadlinePassed StopExpiry" => Event::DeadlinePassed(Deadline::StopExpiry(attempt)),
        "DeadlinePassed RunStart" => Event::DeadlinePassed(Deadline::RunStart(run)),
        "DeadlinePassed RunTimeout" => Event::DeadlinePassed(Deadline::RunTimeout(run)),
        _ => panic!("no event `{name}`"),
    };
    let awaited = match &event {
        Event::DeadlinePassed(deadline) => {
            let deadlines = &story.world.state.volatile.deadlines;
            let at = deadlines.iter().find(|(_, waited)| waited == deadline).map(|(at, _)| *at);
            story.world.now = at.unwrap_or(story.world.now).max(story.world.now);
            at.is_some()
        }
        Event::ContinuationDue(seq) => story.world.state.continuations.contains_key(seq),
        _ => true,
    };
    (event, awaited)
}

/// One row of the table.
fn row(state: &'static str, name: &'static str, prelude: &str, seen: &mut Coverage) -> String {
    let mut story = story::begin(prelude);
    let found = |story: &Story| match RUN_EVENTS.contains(&name) {
        true => coverage::run_state(&story.world.state, story.run("r1")),
        false => coverage::task_state(&story.world.state, story.task("a")),
    };
    assert_eq!(found(&story), state, "the prelude leads into its state");
    let (event, awaited) = event(&mut story, name);
    let before = format!("{:?}", story.world.state.runs);
    let lines = story.take_place(event);
    story.world.check();
    let after = found(&story);
    let same = before == format!("{:?}", story.world.state.runs);
    assert!(awaited || same, "{name} in {state}: what nothing waits for changed something");
    seen.pairs.insert((state, name));
    seen.merge(std::mem::take(&mut story.world.coverage));
    let told: Vec<&str> = lines.iter().map(|line| told(line)).collect();
    let outcome = match (awaited, told.is_empty()) {
        (false, _) => "never comes".to_owned(),
        (true, true) => "-".to_owned(),
        (true, false) => told.join(", "),
    };
    let after = if same { "" } else { after };
    format!("{state:<16} {name:<31} {after:<16} {outcome}\n")
}

/// The short form of a line: a word of history, or an effect without its names.
fn told(line: &str) -> &str {
    let effect = line.strip_prefix("-> ");
    match effect {
        None => line.split(' ').nth(1).unwrap_or(line),
        Some(effect) if effect.starts_with("acknowledge") => effect.rsplit(' ').next().unwrap_or(effect),
        Some(effect) if effect.starts_with("refused") => "refused",
        Some(effect) => effect.split([' ', ':']).next().unwrap_or(effect),
    }
}

/// The whole table.
pub(crate) fn table(seen: &mut Coverage) -> String {
    let mut text = format!("{:<16} {:<31} {:<16} {}\n", "state", "event", "next state", "what is told");
    for state in TASK_STATES {
        TASK_EVENTS.iter().for_each(|name| text.push_str(&row(state, name, task_prelude(state), seen)));
    }
    text.push('\n');
    for state in RUN_STATES {
        for name in RUN_EVENTS {
            let prelude = match name {
                "ContinuationDue" => continued_prelude(state),
                _ => run_prelude(state).to_owned(),
            };
            text.push_str(&row(state, name, &prelude, seen));
        }
    }
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}
