//! A file's text, and the places in it that a person is shown.

use crate::report::{Code, Diagnostic, Excerpt, Report};

/// Largest file, in bytes.
pub const SOURCE_MAX: usize = 64 * 1024 * 1024;

/// Text that was read from a file.
#[derive(Debug)]
pub struct Source {
    /// How the file is called in messages.
    name: String,
    text: String,
}

/// A part of a source, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Behind the last byte.
    pub end: u32,
}

impl Source {
    /// Takes the bytes of the file `name`; a byte order mark is dropped.
    ///
    /// # Errors
    /// A file that is too large, or is not UTF-8.
    pub fn new(name: impl Into<String>, bytes: &[u8]) -> Result<Self, Report> {
        let name = name.into();
        // Before the mark is dropped: whoever gave the bytes may have stopped reading right behind the bound.
        if bytes.len() > SOURCE_MAX {
            let problem = Diagnostic::new(Code::TooLarge, "the file is too large")
                .expected(format!("at most {SOURCE_MAX} bytes (64 MiB)"));
            return Err(Report::new(name, vec![problem]));
        }
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self { name, text: text.to_owned() }),
            Err(error) => {
                let start = error.valid_up_to();
                let source = Self { name, text: String::from_utf8_lossy(bytes).into_owned() };
                let message = format!("byte 0x{:02X} at offset {start} is not UTF-8", bytes[start]);
                let problem = Diagnostic::new(Code::NotText, message).help("save the file as UTF-8");
                let span = Span { start: start as u32, end: start as u32 + 1 };
                Err(source.report(vec![(span, problem)]))
            }
        }
    }

    /// How the file is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Problems with their places as a report on this file.
    pub(crate) fn report(&self, problems: Vec<(Span, Diagnostic)>) -> Report {
        let lines = LineStarts::new(&self.text);
        let mut placed: Vec<Diagnostic> =
            problems.into_iter().map(|(span, problem)| lines.place(&self.text, span, problem)).collect();
        placed.sort_by_key(|problem| (problem.line, problem.column));
        Report::new(self.name.clone(), placed)
    }
}

/// Where each line begins.
struct LineStarts(Vec<u32>);

impl LineStarts {
    fn new(text: &str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at as u32 + 1);
        Self(std::iter::once(0).chain(breaks).collect())
    }

    /// Gives a problem the line, column and excerpt of its place.
    fn place(&self, text: &str, span: Span, mut problem: Diagnostic) -> Diagnostic {
        let start = floor_char_boundary(text, span.start as usize);
        let row = self.0.partition_point(|&begin| begin as usize <= start) - 1;
        let begin = self.0[row] as usize;
        let line = text[begin..].split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let before = text[begin..start].chars().count();
        let end = floor_char_boundary(text, (span.end as usize).clamp(start, begin + line.len().max(start - begin)));
        let marked = text[start..end].chars().count();
        problem.line = row as u32 + 1;
        problem.column = before as u32 + 1;
        problem.excerpt = Some(Excerpt::cut(line, before, marked));
        problem
    }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
