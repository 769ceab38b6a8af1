//! What an earlier process left behind: ended, confirmed, and only then told to the brain.
//!
//! Nothing is given back before its attempt is known to be gone: neither the slot, pools and locks of
//! a lease, nor a pool that stands closed because an attempt may still be alive.

use crate::{convert_work::folder, engine::ATTEMPTS};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use unknot_core::{
    State,
    due::{Outstanding, outstanding, suspects},
    event::{AttemptEnd, Event, Outcome},
    row::Detail,
};
use unknot_hands::{Fate, confirm_dead};

/// How long leftovers may take to die.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);

/// Ends all that local workers of earlier processes left, and says what became of each attempt.
///
/// The brain has been loaded and serves nobody yet, so every local attempt that it knows is a leftover.
/// Blocks for some ten seconds, and only if something does not die; for twenty, if the disk does not answer either.
pub(crate) fn reconcile(data: &Path, state: &State) -> Vec<Event> {
    let (attempts, folders): (Vec<Outstanding>, Vec<PathBuf>) = leftovers(state).into_iter().unzip();
    let fates = confirm_dead(data, &folders, CONFIRM_WITHIN);
    attempts.into_iter().zip(fates).map(|(attempt, (_, fate))| lost(&attempt, fate)).collect()
}

/// Local attempts that were under a lease, and those that keep a pool closed, with their folders.
fn leftovers(state: &State) -> Vec<(Outstanding, PathBuf)> {
    let leased = outstanding(state).into_iter().map(|attempt| {
        let id = attempt.attempt.task;
        let name = state.definition(id.run).task(id.index).name.to_string();
        (attempt, name)
    });
    let suspected = suspects(state).into_iter().map(|(attempt, suspect)| {
        let left = Outstanding { attempt, fence: suspect.fence, worker: suspect.worker.clone() };
        (left, suspect.task_name.clone())
    });
    let local = leased.chain(suspected).filter(|(attempt, _)| attempt.worker.is_local());
    local
        .map(|(attempt, name)| {
            let folder = folder(Path::new(ATTEMPTS), attempt.attempt, &name);
            (attempt, folder)
        })
        .collect()
}

fn lost(attempt: &Outstanding, fate: Fate) -> Event {
    let (confirmed_dead, message) = match fate {
        Fate::ConfirmedDead => (true, "the program that ran it was gone; what it left was ended".to_owned()),
        Fate::Survives { pids } => (false, format!("processes {pids:?} of it are alive and do not die")),
        Fate::Unknown { message } => (false, message),
    };
    Event::AttemptEnded(Box::new(AttemptEnd {
        attempt: attempt.attempt,
        fence: attempt.fence,
        outcome: Outcome::Lost { message, confirmed_dead },
        detail: Detail::NONE,
    }))
}
