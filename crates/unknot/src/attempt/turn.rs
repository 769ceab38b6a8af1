//! An attempt has one wait at a time. Of several processes of it that wait, each stands in line here until it is its turn.

use super::Heard;
use crate::{error::eprint_quietly, output::harmless};
use std::time::{Duration, Instant};
use unknot_api::{Duration as Length, client::ClientError};

/// The first pause before it is asked whether it is this one's turn, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// Standing in line.
pub(super) struct Turn {
    within: Option<Length>,
    since: Instant,
    pause: Duration,
}

/// What is next.
pub(super) enum Next {
    /// Ask again; there is so much time left.
    Ask { within: Option<Length> },
    /// Its time is over.
    Late,
    /// A signal came.
    Signal(i32),
}

impl Turn {
    /// Of a wait that may last so long, with its time in line.
    pub(super) fn new(within: Option<Length>) -> Self {
        Self { within, since: Instant::now(), pause: PAUSES.0 }
    }

    /// Another process of the attempt waits: stands back a while. Says so once.
    pub(super) fn next(&mut self, refused: &ClientError, heard: &Heard) -> Next {
        if self.pause == PAUSES.0 {
            let why = harmless(&refused.to_string());
            eprint_quietly(&format!("note: {why}; this one begins when that is over\n"));
        }
        let pause = self.left().map_or(self.pause, |left| self.pause.min(left));
        if let Some(number) = heard.end_within(pause) {
            return Next::Signal(number);
        }
        self.pause = (self.pause * 2).min(PAUSES.1);
        match self.left() {
            None => Next::Ask { within: None },
            Some(left) if left.as_millis() == 0 => Next::Late,
            Some(left) => Next::Ask { within: Some(Length { ms: left.as_millis().try_into().unwrap_or(u64::MAX) }) },
        }
    }

    fn left(&self) -> Option<Duration> {
        let within = Duration::from_millis(self.within?.ms);
        Some(within.saturating_sub(self.since.elapsed()))
    }
}
