//! What is wrong with a file, for people (as a compiler would say it) and for programs.

use serde::Serialize;
use std::fmt::{self, Write as _};

/// How many problems one report holds.
pub const PROBLEMS_MAX: usize = 20;

/// The problems of one file.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The file's name as it was given.
    pub file: String,
    /// What was found, in the order of the file where there is one.
    pub problems: Vec<Diagnostic>,
}

/// One problem, with its place.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnostic {
    /// The code, the name of its page in `docs/errors`.
    pub code: String,
    /// Whether it stops the file from being used.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// The place in the data, such as `tasks.b.needs[1]`; empty for the whole file.
    pub path: String,
    /// Line from 1; 0 if no place is known.
    pub line: u32,
    /// Column from 1, in characters.
    pub column: u32,
    /// What was expected instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The line of the file, to be shown.
    #[serde(skip)]
    pub excerpt: Option<Excerpt>,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// It can, but may not do what its author thinks.
    Warning,
}

/// A piece of a line with a part of it marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    text: String,
    /// Characters before the mark.
    before: usize,
    /// Characters marked, at least one.
    marked: usize,
}

/// What can be wrong with the form of a file. The rules about its meaning have codes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Larger, deeper or more than a file may be.
    TooLarge,
    /// Not UTF-8.
    NotText,
    /// Neither YAML nor JSON.
    Syntax,
    /// One key twice in a map.
    DuplicateKey,
    /// A feature of YAML that workflow files do without.
    Unsupported,
    /// A key that nobody knows.
    UnknownKey,
    /// A value of the wrong type or form.
    WrongType,
    /// A known word of the language that this version cannot do yet.
    NotYet,
    /// A key that must be there.
    MissingKey,
    /// Keys that exclude each other.
    Exclusive,
}

impl Code {
    /// The code as printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "UK0101",
            Self::NotText => "UK0102",
            Self::Syntax => "UK0103",
            Self::DuplicateKey => "UK0104",
            Self::Unsupported => "UK0105",
            Self::UnknownKey => "UK0106",
            Self::WrongType => "UK0107",
            Self::NotYet => "UK0108",
            Self::MissingKey => "UK0109",
            Self::Exclusive => "UK0110",
        }
    }
}

impl Report {
    /// The report on a file; problems past [`PROBLEMS_MAX`] are dropped.
    pub fn new(file: impl Into<String>, mut problems: Vec<Diagnostic>) -> Self {
        problems.truncate(PROBLEMS_MAX);
        Self { file: file.into(), problems }
    }

    /// Whether the file cannot be used.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Diagnostic::is_error)
    }
}

impl std::error::Error for Report {}

/// One block per problem, as a compiler prints it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.problems.iter().enumerate() {
            if place > 0 {
                f.write_char('\n')?;
            }
            problem.write_block(&self.file, f)?;
        }
        Ok(())
    }
}

impl Diagnostic {
    /// An error without a place.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self::with_code(code.as_str(), Severity::Error, message)
    }

    /// A problem with any code, without a place.
    pub fn with_code(code: impl Into<String>, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            severity,
            message: message.into(),
            path: String::new(),
            line: 0,
            column: 0,
            expected: None,
            help: None,
            excerpt: None,
        }
    }

    /// The same, with what was expected.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// The same, with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same, at a path of the data.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Whether it stops the file from being used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    fn write_block(&self, file: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let place = if self.line == 0 { String::new() } else { format!(":{}:{}", self.line, self.column) };
        let file = harmless(file);
        writeln!(f, "{file}{place}: {severity}[{}]: {}", self.code, harmless(&self.message))?;
        let gutter = self.line.to_string();
        let margin = " ".repeat(gutter.len());
        if let Some(excerpt) = &self.excerpt {
            let marks = "^".repeat(excerpt.marked);
            writeln!(f, "{margin} |\n{gutter} | {}\n{margin} | {}{marks}", excerpt.text, " ".repeat(excerpt.before))?;
        }
        if let Some(expected) = &self.expected {
            writeln!(f, "{margin} = expected {}", harmless(expected))?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "{margin} = help: {}", harmless(help))?;
        }
        Ok(())
    }
}

impl Excerpt {
    /// The part of `line` around its marked characters, so that a line of a megabyte stays readable.
    pub(crate) fn cut(line: &str, before: usize, marked: usize) -> Self {
        const AHEAD: usize = 60;
        const WIDTH: usize = 110;
        let skipped = before.saturating_sub(AHEAD);
        let mut text: String = line.chars().skip(skipped).take(WIDTH).map(visible).collect();
        let mut before = before - skipped;
        if skipped > 0 {
            text.insert(0, '…');
            before += 1;
        }
        if line.chars().skip(skipped).nth(WIDTH).is_some() {
            text.push('…');
        }
        let room = text.chars().count().saturating_sub(before).max(1);
        Self { text, before, marked: marked.clamp(1, room) }
    }
}

/// Tabs as one space, so that marks stand below what they mark; other control characters as `·`, so
/// that a file cannot command the terminal.
fn visible(letter: char) -> char {
    match letter {
        '\t' => ' ',
        letter if letter.is_control() => '·',
        letter => letter,
    }
}

fn harmless(text: &str) -> String {
    text.chars().map(visible).collect()
}
