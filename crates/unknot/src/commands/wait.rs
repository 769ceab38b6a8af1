//! `unknot wait`: a task's script waits, for whatever it is.

use super::lock::{awaited, why_not};
use crate::{
    args::{Units, Wait},
    door::{Door, exit_of},
    error::{Error, eprint_quietly},
    exit::Exit,
};
use std::io::Write;
use unknot_api::rest::{ChildEnd, WaitFor, WaitOutcome};

/// Waits, and prints what came.
pub(crate) fn perform(wait: &Wait, out: &mut dyn Write) -> Result<Exit, Error> {
    let door = Door::open("wait")?;
    let told = door.wait(expression(wait)?, wait.within, wait.then.into())?;
    writeln!(out, "{}", serde_json::to_string(&told).unwrap_or_default())?;
    if told.outcome != WaitOutcome::Met {
        eprint_quietly(&format!("unknot: {}\n", why_not(&told)));
    }
    Ok(exit_of(&told))
}

fn expression(wait: &Wait) -> Result<WaitFor, Error> {
    let lock = |pool: &String| awaited(&Units { pool: pool.clone(), units: 1 });
    let mut parts: Vec<WaitFor> = wait.lock.iter().map(lock).collect();
    parts.extend(wait.pool.iter().map(|Units { pool, units }| WaitFor::Pool { pool: pool.clone(), units: *units }));
    parts.extend(wait.child.iter().map(|given| child(given)));
    parts.extend(wait.signal.iter().map(|given| signal(given)));
    parts.extend(wait.timer.iter().map(|length| WaitFor::Timer(*length)));
    for given in &wait.expression {
        parts.push(read(given)?);
    }
    let usage = |problem: String| Error::Usage { problem };
    match (wait.any, wait.at_least, parts.len()) {
        (_, _, 0) => Err(usage("say what is waited for: `unknot wait --help` has examples".to_owned())),
        (true, ..) => Ok(WaitFor::Any(parts)),
        (false, Some(k), many) if k == 0 || k as usize > many => {
            Err(usage(format!("`--at-least {k}`, and {many} conditions are given")))
        }
        (false, Some(k), _) => Ok(WaitFor::AtLeast { k, of: parts }),
        (false, None, 1) => Ok(parts.remove(0)),
        (false, None, _) => Ok(WaitFor::All(parts)),
    }
}

fn child(given: &str) -> WaitFor {
    match given.strip_suffix(":success") {
        Some(key) => WaitFor::Child { key: key.to_owned(), until: ChildEnd::Success },
        None => WaitFor::Child { key: given.to_owned(), until: ChildEnd::Terminal },
    }
}

fn signal(given: &str) -> WaitFor {
    let (name, from) = given.split_once(':').unwrap_or((given, ""));
    let from = from.split(',').filter(|task| !task.is_empty()).map(str::to_owned).collect();
    WaitFor::Signal { name: name.to_owned(), from }
}

fn read(given: &str) -> Result<WaitFor, Error> {
    let usage = |problem: String| Error::Usage { problem };
    let value = serde_json::from_str(given).map_err(|error| usage(format!("`--for` is no JSON: {error}")))?;
    WaitFor::read(&value, "for").map_err(usage)
}
