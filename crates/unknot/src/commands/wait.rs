//! `unknot wait`: for locks, child runs, signals, a moment; printed is what came.

use crate::{
    args::{self, Bound, Then, Units},
    attempt::{Attempt, Heard, Waited, unique_name},
    error::{Error, eprint_quietly},
    exit::Exit,
};
use serde_json::{Value, json};
use std::io::Write;
use unknot_api::{
    Duration as Length,
    rest::{AtDeadline, ChildEnd, WaitFor, WaitOutcome, WaitRequest, WaitResult},
};

/// What to do outside of a task.
const INSTEAD: &str = "put it into the `exec` of a task; in a workflow, tasks wait by `needs`, `signal`, `workflow` and `sleep`; \
                       for a run's end there is `unknot submit --wait`, or `unknot events RUN -f`";

/// Waits.
pub(crate) fn perform(asked: &args::Wait, out: &mut dyn Write) -> Result<Exit, Error> {
    let attempt = Attempt::here("wait", INSTEAD)?;
    let heard = Heard::listen()?;
    let (within, then) = bound(asked.bound);
    let request = WaitRequest { name: unique_name("unknot wait")?, awaited: awaited(asked)?, within, then };
    match attempt.wait(request, &heard)? {
        Waited::Over(result) => tell(&result, out),
        Waited::Cut(number) => Ok(Exit::by_signal(number)),
    }
}

/// How long, and what then.
pub(super) fn bound(bound: Bound) -> (Option<Length>, AtDeadline) {
    let then = match bound.then {
        Then::GiveUp => AtDeadline::GiveUp,
        Then::Stop => AtDeadline::Stop,
    };
    (bound.within, then)
}

/// Everything that was typed.
fn awaited(asked: &args::Wait) -> Result<WaitFor, Error> {
    let mut of: Vec<WaitFor> = Vec::new();
    of.extend(asked.lock.iter().map(|name| WaitFor::Lock(name.clone())));
    of.extend(asked.pool.iter().map(|one| units(one, 1)));
    of.extend(asked.child.iter().map(|child| child_of(child)));
    of.extend(asked.children.then_some(WaitFor::Children));
    of.extend(asked.signal.iter().map(|signal| signal_of(signal)));
    of.extend(asked.timer.iter().map(|length| WaitFor::Timer(*length)));
    for text in &asked.expressions {
        of.push(expression(text)?);
    }
    let usage = |problem: String| Err(Error::Usage { problem });
    if of.is_empty() {
        return usage("nothing is said to be waited for: `unknot help wait` has examples".to_owned());
    }
    Ok(match (asked.any, asked.at_least) {
        (_, Some(k)) if k as usize > of.len() => {
            return usage(format!("`--at-least {k}` of {} conditions can never hold", of.len()));
        }
        (_, Some(k)) => WaitFor::AtLeast { k, of },
        (true, None) => WaitFor::Any(of),
        (false, None) if of.len() == 1 => of.remove(0),
        (false, None) => WaitFor::All(of),
    })
}

/// A lock, or units of a pool; so many, if nothing is said.
pub(super) fn units(one: &Units, usual: u32) -> WaitFor {
    match one.units.unwrap_or(usual) {
        1 => WaitFor::Lock(one.name.clone()),
        units => WaitFor::Pool { pool: one.name.clone(), units },
    }
}

/// `go`, `go:fetch,render`.
fn signal_of(typed: &str) -> WaitFor {
    let (name, from) = typed.split_once(':').unwrap_or((typed, ""));
    let from = from.split(',').filter(|task| !task.is_empty()).map(str::to_owned).collect();
    WaitFor::Signal { name: name.to_owned(), from }
}

/// `part-1`, `part-1:success`.
fn child_of(typed: &str) -> WaitFor {
    let (key, until) = match typed.strip_suffix(":success") {
        Some(key) => (key, ChildEnd::Success),
        None => (typed.strip_suffix(":terminal").unwrap_or(typed), ChildEnd::Terminal),
    };
    WaitFor::Child { key: key.to_owned(), until }
}

fn expression(text: &str) -> Result<WaitFor, Error> {
    let wrong =
        |problem: String| Error::Usage { problem: format!("the condition of `--for` cannot be used: {problem}") };
    let value: Value = serde_json::from_str(text).map_err(|error| wrong(format!("it is not JSON: {error}")))?;
    WaitFor::read(&value, "for").map_err(wrong)
}

/// Prints what came.
fn tell(result: &WaitResult, out: &mut dyn Write) -> Result<Exit, Error> {
    let WaitResult { outcome, granted, signals, children, .. } = result;
    writeln!(out, "{}", json!({"outcome": outcome, "granted": granted, "signals": signals, "children": children}))?;
    out.flush()?;
    Ok(match outcome {
        WaitOutcome::Met => Exit::Success,
        WaitOutcome::TimedOut | WaitOutcome::Waiting | WaitOutcome::Withdrawn => Exit::NotInTime,
        WaitOutcome::Impossible => {
            let failed = children.iter().map(|(key, child)| format!("`{key}` ended as {}", child.status));
            let failed = failed.collect::<Vec<_>>().join(", ");
            eprint_quietly(&format!("it can not hold any more: {failed}\n"));
            Exit::Failed
        }
    })
}
