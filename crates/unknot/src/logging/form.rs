//! How a line of the log looks.

use super::{Format, Line};
use log::kv::{Key, Value, VisitSource};
use serde_json::json;
use unknot_api::Moment;

/// Letters of one message or value.
const LETTERS_MAX: usize = 8 * 1024;

/// What stands behind a message.
#[derive(Debug, Default)]
pub(super) struct Pairs(pub(super) Vec<(String, serde_json::Value)>);

impl<'kvs> VisitSource<'kvs> for Pairs {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        let value = match (value.to_u64(), value.to_i64(), value.to_bool()) {
            (Some(number), _, _) => number.into(),
            (_, Some(number), _) => number.into(),
            (_, _, Some(truth)) => truth.into(),
            _ => clipped(&value.to_string()).into(),
        };
        self.0.push((key.to_string(), value));
        Ok(())
    }
}

/// A text as long as a line may hold.
pub(super) fn clipped(text: &str) -> String {
    match text.char_indices().nth(LETTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl Line {
    /// The line with its break.
    pub(super) fn formed(&self, format: Format) -> String {
        match format {
            Format::Text => self.text(),
            Format::Json => self.json(),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{} {:<5} {}", self.moment(), self.level, harmless(&self.message));
        for (key, value) in &self.pairs {
            text.push_str(&format!(" {key}={}", word(value)));
        }
        text.push('\n');
        text
    }

    fn json(&self) -> String {
        let mut object = json!({
            "at": self.moment(),
            "level": self.level.as_str().to_ascii_lowercase(),
            "target": self.target,
            "message": self.message,
        });
        for (key, value) in &self.pairs {
            object[key] = value.clone();
        }
        format!("{object}\n")
    }

    /// Always as wide: with milliseconds.
    fn moment(&self) -> String {
        let seconds = Moment { ms: self.at.0 / 1_000 * 1_000 }.to_string();
        format!("{}.{:03}Z", seconds.trim_end_matches('Z'), self.at.0 % 1_000)
    }
}

/// A value as one word, in quotes where it is none.
fn word(value: &serde_json::Value) -> String {
    let plain = |letter: char| !letter.is_whitespace() && !letter.is_control() && !matches!(letter, '"' | '=');
    match value.as_str() {
        Some(text) if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        // JSON leaves some commands for terminals as they are.
        _ => harmless(&value.to_string()),
    }
}

/// Without line breaks and commands for a terminal: one thing said is one line.
fn harmless(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '·' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;
    use unknot_engine::core::Timestamp;

    #[test]
    fn one_thing_said_is_one_line_in_both_forms() {
        let line = Line {
            at: Timestamp(1_762_178_531_004),
            level: Level::Info,
            target: "unknot_server".to_owned(),
            message: "refused\n\u{1b}[31m".to_owned(),
            pairs: vec![
                ("path".to_owned(), "/runs".into()),
                ("by".to_owned(), "a b".into()),
                ("times".to_owned(), 3.into()),
            ],
        };
        assert_eq!(
            line.formed(Format::Text),
            "2025-11-03T14:02:11.004Z INFO  refused··[31m path=/runs by=\"a b\" times=3\n"
        );
        let json: serde_json::Value = serde_json::from_str(&line.formed(Format::Json)).expect("JSON");
        assert_eq!((&json["level"], &json["times"], &json["by"]), (&"info".into(), &3.into(), &"a b".into()));
        assert_eq!(line.formed(Format::Json).matches('\n').count(), 1);
    }
}
