//! Readers of the store, lent out one question at a time.
//!
//! Two sorts, so that long lists never hold up short questions: nothing here asks the brain.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};
use unknot_store::{Namespace, Reader, Store, StoreError};

/// Readers of each sort.
const READERS: usize = 3;
/// How long a question waits for a reader before it is told that the store is too slow.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// What sort of question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Answered by a few rows: a run, its status, what a command needs to know.
    Short,
    /// Lists and histories.
    Long,
}

/// The readers of one engine.
pub(crate) struct Reads {
    namespace: Namespace,
    short: Pool,
    long: Pool,
}

#[derive(Default)]
struct Pool {
    idle: Mutex<Vec<Box<dyn Reader>>>,
    returned: Condvar,
}

/// A reader on loan; it goes back when this is dropped, also by a panic.
struct Loan<'p> {
    pool: &'p Pool,
    reader: Option<Box<dyn Reader>>,
}

impl Reads {
    /// Opens all readers.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) fn open(store: &dyn Store, namespace: Namespace) -> Result<Self, StoreError> {
        let pool = || -> Result<Pool, StoreError> {
            let readers = (0..READERS).map(|_| store.reader()).collect::<Result<Vec<_>, _>>()?;
            Ok(Pool { idle: Mutex::new(readers), returned: Condvar::new() })
        };
        Ok(Self { namespace, short: pool()?, long: pool()? })
    }

    /// Asks a question. Blocks while all readers of its sort are out, for two seconds at the most.
    ///
    /// # Errors
    /// What the question's answer says; [`StoreError::TooSlow`] if no reader came back in time.
    pub(crate) fn ask<T>(
        &self,
        sort: Sort,
        question: impl FnOnce(&mut dyn Reader, &Namespace) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let pool = match sort {
            Sort::Short => &self.short,
            Sort::Long => &self.long,
        };
        let mut loan = pool.lend().ok_or(StoreError::TooSlow { limit: WAIT_MAX })?;
        match &mut loan.reader {
            Some(reader) => question(&mut **reader, &self.namespace),
            None => Err(StoreError::TooSlow { limit: WAIT_MAX }),
        }
    }
}

impl Pool {
    fn lend(&self) -> Option<Loan<'_>> {
        // Only whole readers are pushed and popped: a list that a panicking thread left is whole.
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.returned.wait_timeout_while(idle, WAIT_MAX, |idle| idle.is_empty());
        let reader = waited.unwrap_or_else(PoisonError::into_inner).0.pop()?;
        Some(Loan { pool: self, reader: Some(reader) })
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            self.pool.returned.notify_one();
        }
    }
}
