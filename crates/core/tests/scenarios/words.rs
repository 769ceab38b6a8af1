//! The words of a story's line: split at blanks, with `"…"`, `{…}`, `[…]` and `(…)` kept whole.

use std::str::FromStr;
use unknot_core::Millis;

/// The words of one line, read from the left.
pub(crate) struct Words {
    words: std::vec::IntoIter<String>,
}

impl Words {
    pub(crate) fn of(line: &str) -> Self {
        Self { words: split(line).into_iter() }
    }

    /// The next word, which the line must have.
    pub(crate) fn word(&mut self, what: &str) -> String {
        self.words.next().unwrap_or_else(|| panic!("{what} is missing"))
    }

    /// The next word, if there is one.
    pub(crate) fn next(&mut self) -> Option<String> {
        self.words.next()
    }

    /// The next word as a number.
    pub(crate) fn number<T: FromStr>(&mut self, what: &str) -> T {
        let word = self.word(what);
        word.parse().unwrap_or_else(|_| panic!("{what} is not a number: `{word}`"))
    }

    /// The next word as a length of time: `500ms`, `10s`, `5m`, `2h`, `7d`.
    pub(crate) fn length(&mut self, what: &str) -> Millis {
        length(&self.word(what))
    }

    /// Whether `word` comes next; takes it if so.
    pub(crate) fn take(&mut self, word: &str) -> bool {
        let comes = self.words.as_slice().first().is_some_and(|next| next == word);
        if comes {
            self.words.next();
        }
        comes
    }

    /// The rest must be nothing.
    pub(crate) fn end(mut self) {
        if let Some(word) = self.words.next() {
            panic!("`{word}` is not understood here");
        }
    }
}

/// Reads a length of time.
pub(crate) fn length(text: &str) -> Millis {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().unwrap_or_else(|_| panic!("not a length of time: `{text}`"));
    match &text[digits..] {
        "ms" => Millis(number),
        "s" => Millis::from_secs(number),
        "m" => Millis::from_mins(number),
        "h" => Millis::from_hours(number),
        "d" => Millis::from_days(number),
        _ => panic!("not a length of time: `{text}`"),
    }
}

fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut depth, mut quoted) = (0u32, false);
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            '{' | '[' | '(' if !quoted => depth += 1,
            '}' | ']' | ')' if !quoted => depth -= 1,
            _ => {}
        }
        match letter {
            ' ' if !quoted && depth == 0 => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            '"' if depth == 0 => {}
            _ => word.push(letter),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}
