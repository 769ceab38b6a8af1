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
    /// What people are shown of it, if not the text: as many bytes, with the breaks of lines in the same places.
    shown: Option<String>,
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
            Ok(text) => Ok(Self { name, text: text.to_owned(), shown: None }),
            Err(error) => {
                let start = error.valid_up_to();
                let source = Self { name, text: String::from_utf8_lossy(bytes).into_owned(), shown: None };
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

    /// The same, of which people are shown `shown` instead: what is secret made unreadable. What has not as many bytes is
    /// not taken.
    #[must_use]
    pub fn showing(self, shown: String) -> Self {
        Self { shown: Some(shown).filter(|shown| shown.len() == self.text.len()), ..self }
    }

    /// Problems with their places as a report on this file.
    pub(crate) fn report(&self, problems: Vec<(Span, Diagnostic)>) -> Report {
        let (lines, shown) = (LineStarts::new(&self.text), self.shown.as_ref().unwrap_or(&self.text));
        let mut placed: Vec<Diagnostic> =
            problems.into_iter().map(|(span, problem)| lines.place(&self.text, shown, span, problem)).collect();
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
    fn place(&self, text: &str, shown: &str, span: Span, mut problem: Diagnostic) -> Diagnostic {
        let start = floor_char_boundary(text, span.start as usize);
        let row = self.0.partition_point(|&begin| begin as usize <= start) - 1;
        let begin = self.0[row] as usize;
        let line = text[begin..].split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let before = text[begin..start].chars().count();
        let end = floor_char_boundary(text, (span.end as usize).clamp(start, begin + line.len().max(start - begin)));
        problem.line = row as u32 + 1;
        problem.column = before as u32 + 1;
        // A letter that is not shown may stand for several bytes: they are counted in what is shown.
        let shown_line = shown.get(begin..begin + line.len()).unwrap_or_default();
        let count = |from: usize, to: usize| shown.get(from..to).map_or(0, |part| part.chars().count());
        problem.excerpt = Some(Excerpt::cut(shown_line, count(begin, start), count(start, end)));
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
