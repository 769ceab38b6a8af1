//! How many files a worker and its guard may have open, and how many attempts that suffices for.
//!
//! The usual soft limit of 1,024 is there for programs that use `select`, which counts no further. Neither of the two
//! does, so both take what the hard limit allows; a task gets back what was there before.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What an attempt takes in its worker: two pipes, two files of its log, and one at a time for all else.
const PER_SLOT: u64 = 5;
/// What a worker and whoever runs it take for themselves: the store, sockets, libraries.
const FOR_ITSELF: u64 = 100;
/// What a guard keeps back from what it is sent, so that it can always see and end what it has.
const RESERVE: u64 = 16;

/// Raises the soft limit of this process to its hard limit; returns the soft limit that there was at first.
pub(crate) fn raise() -> Option<u64> {
    static FOUND: OnceLock<Option<u64>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let limit = getrlimit(Resource::Nofile);
        set(limit.maximum);
        limit.current
    })
}

/// How many attempts with processes one worker of this process can run at once. Raises the limit first.
#[must_use]
pub fn slots_max() -> usize {
    raise();
    slots_within(getrlimit(Resource::Nofile).current)
}

fn slots_within(open_files_max: Option<u64>) -> usize {
    let most = open_files_max.map_or(u64::MAX, |most| most.saturating_sub(FOR_ITSELF) / PER_SLOT);
    usize::try_from(most).unwrap_or(usize::MAX).max(1)
}

/// Raises the limit in a process that was forked while a [`Reserve`] was kept.
pub(crate) fn raise_again() {
    set(getrlimit(Resource::Nofile).maximum);
}

/// Sets the soft limit, if it is known and allowed.
pub(crate) fn set(current: Option<u64>) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = match (current, maximum) {
        (Some(current), Some(most)) => Some(current.min(most)),
        (current, _) => current,
    };
    // Refused, it stays as it is, and what does not fit says so itself.
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap_or_default();
}

/// While it lives, the last few descriptors cannot be taken. For a process with one thread.
#[derive(Debug)]
pub(crate) struct Reserve {
    before: Option<u64>,
}

impl Reserve {
    pub(crate) fn keep() -> Self {
        let before = getrlimit(Resource::Nofile).current;
        set(before.map(|most| most.saturating_sub(RESERVE)));
        Self { before }
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_fit_into_the_limit() {
        assert_eq!(slots_within(Some(1_024)), 184);
        assert_eq!(slots_within(Some(3)), 1, "one is always tried");
        assert!(slots_within(None) > 10_000);
    }
}
