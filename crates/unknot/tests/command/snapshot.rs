//! What a person sees, compared with a file: what differs from run to run is made the same first.
//!
//! `UNKNOT_BLESS=1 cargo test -p unknot` writes the files anew.

use super::support::Bench;
use std::{env, fs, path::PathBuf};

/// Runs a command and compares everything about it with `snapshots/NAME.txt`.
#[track_caller]
pub(crate) fn check(bench: &Bench, name: &str, arguments: &[&str]) {
    let ended = bench.run(arguments);
    let code = ended.code.map_or("by a signal".to_owned(), |code| code.to_string());
    let mut text = format!("$ unknot {}\n{}", arguments.join(" "), ended.stdout);
    if !ended.stderr.is_empty() {
        text.push_str(&format!("--- standard error\n{}", ended.stderr));
    }
    text.push_str(&format!("--- exit status {code}\n"));
    let folder = bench.path(".").canonicalize().unwrap().display().to_string();
    let found = filtered(&text.replace(&folder, "[folder]"));
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/command/snapshots/{name}.txt"));
    if env::var_os("UNKNOT_BLESS").is_some() {
        fs::write(&file, &found).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == expected, "{} differs.\n--- expected\n{expected}\n--- found\n{found}", file.display());
}

/// Ids, moments, lengths of time and process ids as signs of the same width wherever that matters.
pub(crate) fn filtered(text: &str) -> String {
    let mut filtered = String::with_capacity(text.len());
    let mut rest = text;
    'text: while let Some(letter) = rest.chars().next() {
        let starts_word = !filtered.chars().next_back().is_some_and(char::is_alphanumeric);
        for (pattern, sign) in PATTERNS {
            if let Some(length) = matching(pattern, rest).filter(|_| starts_word) {
                filtered.push_str(sign);
                rest = &rest[length..];
                continue 'text;
            }
        }
        filtered.push(letter);
        rest = &rest[letter.len_utf8()..];
    }
    filtered
}

/// `9` is a digit, `9*` some digits, ` *` some spaces, `X*` the letters of an id; all else is itself.
const PATTERNS: &[(&str, &str)] = &[
    ("run_X*", "run_xxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("att_X*", "att_[id]"),
    ("9999-99-99 99:99:99Z", "[moment]"),
    ("(now)", "(… ago)"),
    ("(9*s ago)", "(… ago)"),
    (" *now\n", "      … ago\n"),
    (" *9*s ago\n", "      … ago\n"),
    ("9*m 99s", "[time]"),
    ("9d 99h", "[time]"),
    ("9*.9s", "#.#s"),
    ("process 9*", "process [pid]"),
    ("pid 9*", "pid [pid]"),
    ("kill 9*", "kill [pid]"),
];

/// How much of the beginning of `text` a pattern covers.
fn matching(pattern: &str, text: &str) -> Option<usize> {
    let mut at = 0;
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        let fits = |found: char| match letter {
            '9' => found.is_ascii_digit(),
            'X' => found.is_ascii_alphanumeric() || found == '.',
            other => found == other,
        };
        let many = letters.next_if_eq(&'*').is_some();
        let most = if many { usize::MAX } else { 1 };
        let length: usize = text[at..].chars().take_while(|found| fits(*found)).take(most).map(char::len_utf8).sum();
        if length == 0 {
            return None;
        }
        at += length;
    }
    Some(at)
}

#[test]
fn what_differs_from_run_to_run_is_made_the_same() {
    for (text, expected) in [
        ("run_01M849K ran", "run_xxxxxxxxxxxxxxxxxxxxxxxxxx ran"),
        ("at 2026-11-23 13:30:38Z, 0.3s", "at [moment], #.#s"),
        ("2.0s        now\n", "#.#s       … ago\n"),
        ("2.0s     1s ago\n", "#.#s       … ago\n"),
        ("x12.3s", "x12.3s"),
    ] {
        assert_eq!(filtered(text), expected);
    }
}
