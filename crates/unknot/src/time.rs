//! Moments and lengths of time, as people read them.

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
    const LAST: u64 = 253_402_300_799;
    let seconds = (at.0 / 1_000).min(LAST);
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day since 1970 (H. Hinnant, "chrono-compatible low-level date algorithms":
/// years begin in March, so that the leap day is the last).
fn date(days_since_epoch: u64) -> (u64, u64, u64) {
    let days = days_since_epoch + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
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
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_399, "2000-02-28 23:59:59Z"),
            (951_782_400, "2000-02-29 00:00:00Z"),
            (1_709_251_200, "2024-03-01 00:00:00Z"),
            (u64::MAX / 1_000, "9999-12-31 23:59:59Z"),
        ] {
            assert_eq!(moment(Timestamp(seconds * 1_000)), text);
        }
    }
}
