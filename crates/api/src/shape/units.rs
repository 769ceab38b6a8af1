//! Values with a unit: lengths of time, sizes, moments.

use super::{
    Definitions, Reader, Shape,
    values::{scalar, text_of},
};
use crate::document::{Node, Scalar};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::json;
use std::{borrow::Cow, fmt};

/// A length of time, written `500ms`, `30s`, `10m`, `2h`, `7d`, or combined: `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration {
    /// Milliseconds.
    pub ms: u64,
}

/// A size, written `64KiB`, `2GiB` (powers of 1024) or `10MB` (powers of 1000).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// Bytes.
    pub bytes: u64,
}

/// A moment, written by RFC 3339: `2031-05-01T08:00:00Z`, `2031-05-01T10:00:00+02:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Milliseconds since the Unix epoch.
    pub ms: u64,
}

const DURATION_PATTERN: &str = "^(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
const DURATION: &str = "a length of time such as `500ms`, `30s`, `10m`, `2h`, `7d` or `1h30m`";
const SIZE: &str = "a size such as `64KiB`, `512MiB`, `2GiB` or `10MB`";
const MOMENT: &str = "a moment such as `2031-05-01T08:00:00Z`";

impl Shape for Duration {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let read = text_of(node).and_then(Self::parse);
        if read.is_none() {
            let help = scalar(node).and_then(|scalar| match scalar.as_whole() {
                Some(number) if number >= 0 => Some(format!("did you mean `{number}s`?")),
                _ => fraction_in_ms(&scalar.text).map(|ms| format!("write `{ms}ms`")),
            });
            reader.wrong_with(node, DURATION, help);
        }
        read
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({"type": "string", "pattern": DURATION_PATTERN, "examples": ["500ms", "30s", "10m", "2h", "7d"]})
    }
}

impl Duration {
    const UNITS: [(&'static str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

    /// Reads whole numbers with units, the larger unit first, each at most once. A length beyond
    /// what 64 bits hold becomes the longest: whoever checks bounds refuses it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut units = Self::UNITS.iter();
        let mut ms: u64 = 0;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
            let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
            if number.is_empty() {
                return None;
            }
            let (_, factor) = units.by_ref().find(|(name, _)| *name == unit)?;
            let number: u64 = number.parse().unwrap_or(u64::MAX);
            ms = ms.saturating_add(number.saturating_mul(*factor));
            rest = &rest[digits + letters..];
        }
        Some(Self { ms })
    }
}

/// As it is written: the larger unit first, without those of which there is none.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ms == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.ms;
        for (unit, factor) in Self::UNITS {
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is not {DURATION}")))
    }
}

impl schemars::JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "pattern": DURATION_PATTERN,
            "description": "A length of time.", "examples": ["500ms", "30s", "10m", "2h", "7d", "1h30m"],
        })
    }
}

/// `1.5s` in milliseconds, to be shown to whoever wrote it.
fn fraction_in_ms(text: &str) -> Option<u64> {
    let unit_at = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let (_, factor) = Duration::UNITS.iter().find(|(name, _)| *name == &text[unit_at..])?;
    let ms = text[..unit_at].trim().parse::<f64>().ok()? * *factor as f64;
    (ms.fract() == 0.0 && (0.0..1e15).contains(&ms)).then_some(ms as u64)
}

impl Shape for Size {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let read = text_of(node).and_then(Self::parse);
        if read.is_none() {
            let bare = scalar(node).and_then(Scalar::as_whole).filter(|&number| number >= 0);
            reader.wrong_with(node, SIZE, bare.map(|number| format!("did you mean `{number}B` or `{number}MiB`?")));
        }
        read
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({"type": "string", "pattern": "^[0-9]+ ?([KMGT]i?)?B$", "examples": ["64KiB", "512MiB", "2GiB"]})
    }
}

impl Size {
    /// Reads a whole number with a unit.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let factor: u64 = match text[digits..].trim() {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return None,
        };
        Some(Self { bytes: text[..digits].parse::<u64>().ok()?.checked_mul(factor)? })
    }
}

impl Shape for Moment {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let read = text_of(node).and_then(Self::parse);
        if read.is_none() {
            reader.wrong(node, MOMENT);
        }
        read
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({"type": "string", "format": "date-time"})
    }
}

impl Moment {
    /// Reads an RFC 3339 moment from 1970 on.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_once(['T', 't', ' '])?;
        let zone_at = time.find(['Z', 'z', '+', '-'])?;
        let (time, zone) = time.split_at(zone_at);
        let [year, month, day] = parts(date, '-', [4, 2, 2])?;
        let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let [hour, minute, second] = parts(time, ':', [2, 2, 2])?;
        let valid = (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day);
        if !valid
            || hour > 23
            || minute > 59
            || second > 60
            || fraction.is_empty()
            || !fraction.bytes().all(|byte| byte.is_ascii_digit())
        {
            return None;
        }
        let millis: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
        let offset_minutes = match zone {
            "Z" | "z" => 0,
            _ => {
                let [hours, minutes] = parts(&zone[1..], ':', [2, 2])?;
                if hours > 23 || minutes > 59 {
                    return None;
                }
                (hours * 60 + minutes) * if zone.starts_with('-') { -1 } else { 1 }
            }
        };
        let minutes = (days_since_epoch(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
        u64::try_from((minutes * 60 + second) * 1_000 + millis).ok().map(|ms| Self { ms })
    }
}

/// As RFC 3339 in UTC; milliseconds only where there are any. The year 9999 is the end of calendars.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LAST: u64 = 253_402_300_799_999;
        let ms = self.ms.min(LAST);
        let seconds = ms / 1_000;
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match ms % 1_000 {
            0 => f.write_str("Z"),
            fraction => write!(f, ".{fraction:03}Z"),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is not {MOMENT}")))
    }
}

impl schemars::JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "format": "date-time",
            "description": "A moment by RFC 3339, in UTC.", "examples": ["2031-05-01T08:00:00Z"],
        })
    }
}

/// Exactly `N` numbers of so many digits.
fn parts<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut given = text.split(between);
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part =
            given.next().filter(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    given.next().is_none().then_some(numbers)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar (H. Hinnant, "chrono-compatible low-level date
/// algorithms": years begin in March, so that the leap day is the last).
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a day since 1970: [`days_since_epoch`] the other way round.
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
    fn lengths_are_read_as_they_are_printed() {
        for text in ["0s", "1ms", "30s", "1h30m", "7d", "2d3h4m5s6ms"] {
            assert_eq!(Duration::parse(text).expect(text).to_string(), text);
        }
        assert_eq!(Duration { ms: 90_000 }.to_string(), "1m30s");
    }

    #[test]
    fn moments_follow_the_calendar_in_both_directions() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399_000, "2000-02-28T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_251_200_007, "2024-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(Moment { ms }.to_string(), text);
            assert_eq!(Moment::parse(text), Some(Moment { ms }));
        }
        assert_eq!(Moment { ms: u64::MAX }.to_string(), "9999-12-31T23:59:59.999Z");
    }
}
