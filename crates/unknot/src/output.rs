//! Text on its way to a person: colours, widths, and letters that command no terminal.

use crate::terminal;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
use unknot_engine::core::run::{RunStatus, TaskStatus};

/// How a piece of text is set off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it is.
    Plain,
    /// What a reader looks for first.
    Strong,
    /// What a reader may pass over.
    Faint,
    /// It went well.
    Good,
    /// It did not.
    Bad,
    /// It may need somebody.
    Warn,
    /// It goes on now.
    Live,
}

/// Puts tones on text, where the output takes colours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    colours: bool,
}

impl Paint {
    /// None, wherever a test runs.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { colours: false };

    /// For standard output.
    pub(crate) fn for_stdout() -> Self {
        Self { colours: terminal::takes_colours() }
    }

    /// `text` in `tone`.
    pub(crate) fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Warn => "33",
            Tone::Live => "36",
        };
        if self.colours && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The tone of a run's status.
pub(crate) fn run_tone(status: RunStatus) -> Tone {
    match status {
        RunStatus::Completed => Tone::Good,
        RunStatus::Failed | RunStatus::TimedOut => Tone::Bad,
        RunStatus::Cancelled | RunStatus::Cancelling => Tone::Warn,
        RunStatus::Running => Tone::Live,
        RunStatus::Pending => Tone::Faint,
    }
}

/// The tone of a task's status.
pub(crate) fn task_tone(status: TaskStatus) -> Tone {
    match status {
        TaskStatus::Completed => Tone::Good,
        TaskStatus::Failed => Tone::Bad,
        TaskStatus::Retrying | TaskStatus::Cancelled => Tone::Warn,
        TaskStatus::Running | TaskStatus::Waiting => Tone::Live,
        TaskStatus::Pending | TaskStatus::Queued | TaskStatus::Skipped => Tone::Faint,
    }
}

/// The columns that `text` takes on a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// `text` in at most `columns` columns, with `…` for what was cut; letters that would command the
/// terminal become `·`, tabs a space.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let text = harmless(text);
    if width(&text) <= columns {
        return text;
    }
    let mut left = columns.saturating_sub(1);
    let mut cut = String::with_capacity(columns);
    for letter in text.chars() {
        let taken = letter.width().unwrap_or(0);
        if taken > left {
            break;
        }
        left -= taken;
        cut.push(letter);
    }
    if columns > 0 {
        cut.push('…');
    }
    cut
}

/// `text` in lines of at most `columns` columns, broken between words; of more than `most` lines the
/// last one ends with `…`.
pub(crate) fn wrap(text: &str, columns: usize, most: usize) -> Vec<String> {
    let text = harmless(text);
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let mut rest = text.split(' ').filter(|word| !word.is_empty());
    while let Some(word) = rest.next() {
        let joined = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if width(&joined) <= columns {
            line = joined;
        } else if lines.len() + 1 >= most {
            line = fit(&rest.fold(joined, |line, word| format!("{line} {word}")), columns);
            break;
        } else {
            let full = std::mem::replace(&mut line, fit(word, columns));
            lines.extend(Some(full).filter(|full| !full.is_empty()));
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// `text` in exactly `columns` columns.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    let mut text = fit(text, columns);
    text.extend(std::iter::repeat_n(' ', columns.saturating_sub(width(&text))));
    text
}

/// `text` without letters that would command a terminal.
pub(crate) fn harmless(text: &str) -> String {
    let visible = |letter: char| match letter {
        '\t' => ' ',
        letter if letter.is_control() => '·',
        letter => letter,
    };
    text.chars().map(visible).collect()
}

/// `1 task`, `2 tasks`; thousands are set apart.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number))
}

/// `100,000`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `312 B`, `4.1 KiB`, `2.0 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.into_iter().find(|(_, shift)| bytes >> shift > 0);
    match unit {
        None => format!("{bytes} B"),
        // Tenths, never more than there is.
        Some((unit, shift)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", thousands((tenths / 10) as u64), tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_fits_its_columns() {
        for (text, columns, expected) in [
            ("plain", 10, "plain"),
            ("plain", 4, "pla…"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("a\x1b[31mb\t", 9, "a·[31mb "),
            ("x", 0, ""),
        ] {
            assert_eq!(fit(text, columns), expected, "{text:?} in {columns}");
        }
        assert_eq!(width(&pad("日本語", 8)), 8);
    }

    #[test]
    fn long_text_is_broken_between_words() {
        assert_eq!(wrap("one two three", 7, 3), ["one two", "three"]);
        assert_eq!(wrap("one two three four", 7, 2), ["one two", "three …"]);
        assert_eq!(wrap("unbreakable x", 5, 3), ["unbr…", "x"]);
        assert_eq!(wrap("", 5, 3), [""]);
    }

    #[test]
    fn numbers_are_set_apart() {
        assert_eq!(count(1, "task"), "1 task");
        assert_eq!(count(100_000, "task"), "100,000 tasks");
        assert_eq!(thousands(999), "999");
    }

    #[test]
    fn sizes_have_a_unit() {
        for (bytes, text) in
            [(0, "0 B"), (1_023, "1023 B"), (1_024, "1.0 KiB"), (4_250, "4.1 KiB"), (3 << 30, "3.0 GiB")]
        {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size(u64::MAX), "17,179,869,183.9 GiB");
    }
}
