//! Identifiers: prefixed, sortable newtypes, so that an id in a log says its kind.
//!
//! Only a run's id is drawn (by the engine, it enters with the event). A task's id is its run's
//! and its place in the workflow, an attempt's id adds the number of the try: both are derived, so
//! nothing random is needed inside the core.

use serde::{Deserialize, Serialize};
use std::{fmt, ops::RangeInclusive, str::FromStr};

/// Crockford's base 32: no I, L, O, U; sorts as ASCII.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 128 bits in groups of five.
const ULID_LEN: usize = 26;

/// An id that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseIdError {
    /// What was given, cut to 80 characters.
    pub text: String,
    /// What an id of this kind looks like.
    pub expected: &'static str,
}

impl ParseIdError {
    pub(crate) fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), expected }
    }
}

/// A run: 48 bits of milliseconds and 80 of chance (a ULID), printed `run_01J…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(u128);

/// The place of a task in its workflow's list, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskIndex(pub u32);

/// A task of a run, printed `task_01J….7`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId {
    /// The run it belongs to.
    pub run: RunId,
    /// Its place in the run's workflow.
    pub index: TaskIndex,
}

/// One try of a task, printed `att_01J….7.2`; tries count from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttemptId {
    /// The task tried.
    pub task: TaskId,
    /// Which try, from 1; never used twice for one task.
    pub number: u32,
}

impl RunId {
    /// Makes an id from the moment of submission and 80 random bits (higher bits are dropped).
    pub const fn from_parts(now_ms: u64, chance: u128) -> Self {
        Self(((now_ms as u128 & 0xFFFF_FFFF_FFFF) << 80) | (chance & ((1 << 80) - 1)))
    }

    /// The task at `index` of this run.
    pub const fn task(self, index: TaskIndex) -> TaskId {
        TaskId { run: self, index }
    }

    /// The ids of all its tasks, to look them up in what is sorted by them.
    pub(crate) const fn all_tasks(self) -> RangeInclusive<TaskId> {
        self.task(TaskIndex(0))..=self.task(TaskIndex(u32::MAX))
    }

    fn write_ulid(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; ULID_LEN];
        let mut rest = self.0;
        for place in text.iter_mut().rev() {
            *place = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }

    fn parse_ulid(text: &str) -> Option<Self> {
        if text.len() != ULID_LEN {
            return None;
        }
        let mut value: u128 = 0;
        for (place, byte) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|&letter| letter == byte.to_ascii_uppercase())? as u128;
            if place == 0 && digit > 7 {
                return None;
            }
            value = (value << 5) | digit;
        }
        Some(Self(value))
    }
}

impl TaskId {
    /// The try with `number` of this task.
    pub const fn attempt(self, number: u32) -> AttemptId {
        AttemptId { task: self, number }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("run_")?;
        self.write_ulid(f)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("task_")?;
        self.run.write_ulid(f)?;
        write!(f, ".{}", self.index.0)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("att_")?;
        self.task.run.write_ulid(f)?;
        write!(f, ".{}.{}", self.task.index.0, self.number)
    }
}

impl FromStr for RunId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        text.strip_prefix("run_")
            .and_then(Self::parse_ulid)
            .ok_or_else(|| ParseIdError::new(text, "a run id (`run_` and 26 letters and digits)"))
    }
}

impl FromStr for TaskId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parse = || {
            let (run, index) = text.strip_prefix("task_")?.split_once('.')?;
            Some(RunId::parse_ulid(run)?.task(TaskIndex(index.parse().ok()?)))
        };
        parse().ok_or_else(|| ParseIdError::new(text, "a task id (`task_….7`)"))
    }
}

impl FromStr for AttemptId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parse = || {
            let mut parts = text.strip_prefix("att_")?.split('.');
            let run = RunId::parse_ulid(parts.next()?)?;
            let task = run.task(TaskIndex(parts.next()?.parse().ok()?));
            let number = parts.next()?.parse().ok().filter(|&number| number > 0)?;
            parts.next().is_none().then(|| task.attempt(number))
        };
        parse().ok_or_else(|| ParseIdError::new(text, "an attempt id (`att_….7.2`)"))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for RunId {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<TaskId> for String {
    fn from(id: TaskId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for TaskId {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

impl fmt::Debug for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<AttemptId> for String {
    fn from(id: AttemptId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for AttemptId {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

/// A growing stored counter that decides every order in a namespace: queue places, wait order, age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

/// A lease's fencing number: a later grant always has a higher one, so a late report is told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

/// The number of a commit within its namespace, from 1 without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitSeq(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_their_kind_and_read_back() {
        let run = RunId::from_parts(1_700_000_000_000, 0x1234_5678_9ABC_DEF0_1234);
        let attempt = run.task(TaskIndex(7)).attempt(2);
        assert_eq!(run.to_string().parse::<RunId>(), Ok(run));
        assert_eq!(attempt.task.to_string().parse::<TaskId>(), Ok(attempt.task));
        assert_eq!(attempt.to_string().parse::<AttemptId>(), Ok(attempt));
        assert!(attempt.to_string().starts_with("att_") && attempt.to_string().ends_with(".7.2"));
    }

    #[test]
    fn ids_sort_by_time() {
        assert!(RunId::from_parts(5, u128::MAX) < RunId::from_parts(6, 0));
        assert!(RunId::from_parts(5, u128::MAX).to_string() < RunId::from_parts(6, 0).to_string());
    }

    #[test]
    fn broken_ids_are_refused_with_what_was_expected() {
        for text in ["", "run_", "run_8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "task_x.1", "run_0123456789012345678901234U"] {
            let error = text.parse::<RunId>().expect_err(text);
            assert!(error.to_string().contains("a run id"), "{error}");
        }
        assert!("att_00000000000000000000000000.0.0".parse::<AttemptId>().is_err());
    }
}
