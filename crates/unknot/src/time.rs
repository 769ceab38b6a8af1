//! Moments and lengths of time, as people read them.

use unknot_api::Moment;
use unknot_engine::core::{Millis, Timestamp};

/// A length of time in three to six characters or so: `0.4s`, `12.3s`, `3m 02s`, `1h 04m`, `2d 03h`.
pub(crate) fn length(time: Millis) -> String {
    let seconds = time.0 / 1_000;
    match seconds {
        0..60 => format!("{seconds}.{}s", time.0 % 1_000 / 100),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// How long ago something was, without fractions: `now`, `12s ago`, `3m ago`, `5h ago`, `2d ago`.
pub(crate) fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.since(then).0 / 1_000;
    match seconds {
        0 => "now".to_owned(),
        1..60 => format!("{seconds}s ago"),
        60..3_600 => format!("{}m ago", seconds / 60),
        3_600..86_400 => format!("{}h ago", seconds / 3_600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// A moment by the calendar, in UTC: `2026-11-03 14:02:11Z`. The year 9999 is the end of calendars.
pub(crate) fn moment(at: Timestamp) -> String {
    let whole_seconds = Moment { ms: at.0 / 1_000 * 1_000 };
    whole_seconds.to_string().replace('T', " ").replace(".999Z", "Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_keep_two_units() {
        for (ms, text) in [
            (0, "0.0s"),
            (449, "0.4s"),
            (12_345, "12.3s"),
            (182_000, "3m 02s"),
            (3_840_000, "1h 04m"),
            (183_600_000, "2d 03h"),
        ] {
            assert_eq!(length(Millis(ms)), text);
        }
    }

    #[test]
    fn moments_follow_the_calendar() {
        for (seconds, text) in [(951_782_400, "2000-02-29 00:00:00Z"), (u64::MAX / 1_000, "9999-12-31 23:59:59Z")] {
            assert_eq!(moment(Timestamp(seconds * 1_000)), text);
        }
    }
}
