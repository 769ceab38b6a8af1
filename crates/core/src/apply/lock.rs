//! Locks that nobody configured: pools of one, made by their first use, and forgotten when they are nobody's.

use crate::{State, row::Key, settings::Pool, step::Step};

/// Those that are kept while they are nobody's, so that those in use are not made again and again.
const KEPT: usize = 1_000;
/// Those that one step forgets.
const FORGOTTEN_PER_STEP: usize = 100;

impl State {
    /// Whether a lock of first use is held, wanted and named by nobody.
    fn is_nobodys(&self, lock: &str) -> bool {
        let Self { volatile, pools, .. } = self;
        let is_of_first_use = pools.get(lock).is_some_and(|pool| pool.implicit && pool.poisoned.is_none());
        is_of_first_use
            && !volatile.held.contains_key(lock)
            && !volatile.named.contains_key(lock)
            && !volatile.waiters.awaits_units(lock)
    }
}

impl Step<'_> {
    /// Makes those of these locks that are not there.
    pub(crate) fn make_locks<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        for name in names {
            if !self.state.pools.contains_key(name) {
                self.state.pools.insert(name.to_owned(), Pool::lock());
                self.touch(Key::Pool(name.to_owned()));
            }
        }
    }

    /// Forgets locks of first use that are nobody's, once there are many: scripts may make up ever new names.
    pub(crate) fn forget_locks(&mut self) {
        for _ in 0..FORGOTTEN_PER_STEP {
            if self.state.volatile.given_back.len() <= KEPT || self.is_full() {
                return;
            }
            let Some(name) = self.state.volatile.given_back.pop_first() else { return };
            if self.state.is_nobodys(&name) {
                self.forget_pool(&name);
            }
        }
    }
}
