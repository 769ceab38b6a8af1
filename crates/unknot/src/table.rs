//! Columns that fit the width they are given.

use crate::output::{Paint, Tone, fit, pad, width, wrap};
use std::io::{self, Write};

/// Space between two columns.
const GAP: usize = 2;
/// Lines of one cell that goes on below.
const LINES_MAX: usize = 3;

/// A piece of text with its tone.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

/// How a column behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// As wide as its widest text.
    Whole,
    /// The same, with its text at the right edge.
    Right,
    /// Gives way when the table is too wide, down to so many characters.
    Shrinks(usize),
    /// The same; as the last column, what does not fit goes on below, so that no bound is cut off.
    Wraps(usize),
}

/// Rows of text in aligned columns.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Cell {
    /// Text in a tone.
    pub(crate) fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Tone::Plain, text)
    }
}

impl Table {
    /// A table with a line of headings.
    pub(crate) fn new(headings: &[(&str, Column)]) -> Self {
        let heading = |(text, _): &(&str, Column)| Cell::new(Tone::Faint, *text);
        Self {
            columns: headings.iter().map(|(_, column)| *column).collect(),
            rows: vec![headings.iter().map(heading).collect()],
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Writes it, each line indented by `indent` and at most `columns` wide.
    pub(crate) fn write(&self, out: &mut dyn Write, paint: Paint, indent: usize, columns: usize) -> io::Result<()> {
        let widths = self.widths(columns.saturating_sub(indent));
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            let mut taken = indent;
            let mut below = Vec::new();
            for (place, cell) in row.iter().enumerate() {
                let is_last = place + 1 == row.len();
                match self.columns[place] {
                    Column::Wraps(_) if is_last => {
                        below = wrap(&cell.text, widths[place], LINES_MAX);
                        line.push_str(&paint.tone(cell.tone, &below.remove(0)));
                    }
                    column => line.push_str(&self.cell(cell, column, widths[place], is_last, paint)),
                }
                if !is_last {
                    line.push_str(&" ".repeat(GAP));
                    taken += widths[place] + GAP;
                }
            }
            writeln!(out, "{}", line.trim_end())?;
            let tone = row.last().map_or(Tone::Plain, |cell| cell.tone);
            for more in below {
                writeln!(out, "{}{}", " ".repeat(taken), paint.tone(tone, &more))?;
            }
        }
        Ok(())
    }

    fn cell(&self, cell: &Cell, column: Column, columns: usize, is_last: bool, paint: Paint) -> String {
        let text = match column {
            Column::Right => {
                let text = fit(&cell.text, columns);
                format!("{}{text}", " ".repeat(columns.saturating_sub(width(&text))))
            }
            Column::Whole | Column::Shrinks(_) | Column::Wraps(_) if is_last => fit(&cell.text, columns),
            Column::Whole | Column::Shrinks(_) | Column::Wraps(_) => pad(&cell.text, columns),
        };
        paint.tone(cell.tone, &text)
    }

    /// The widths that fit into `room`: what is too much is taken from those that give way, the widest first.
    fn widths(&self, room: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|place| self.rows.iter().filter_map(|row| row.get(place)).map(|cell| width(&cell.text)).max())
            .map(Option::unwrap_or_default)
            .collect();
        let gaps = GAP * self.columns.len().saturating_sub(1);
        let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(room);
        while excess > 0 {
            let gives = |(place, &width): (usize, &usize)| match self.columns[place] {
                Column::Shrinks(least) | Column::Wraps(least) if width > least => Some((width, place)),
                _ => None,
            };
            let Some((_, place)) = widths.iter().enumerate().filter_map(gives).max() else { break };
            widths[place] -= 1;
            excess -= 1;
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_goes_on_below_or_gives_way() {
        let written = |last: Column| {
            let mut table = Table::new(&[("TASK", Column::Whole), ("", last)]);
            table.row(vec!["stubborn".into(), "is being stopped (out of time); given up in 20.4s".into()]);
            let mut bytes = Vec::new();
            table.write(&mut bytes, Paint::PLAIN, 2, 40).expect("into memory");
            String::from_utf8(bytes).expect("text")
        };
        let expected = "  TASK\n  stubborn  is being stopped (out of\n            time); given up in 20.4s\n";
        assert_eq!(written(Column::Wraps(20)), expected);
        assert_eq!(written(Column::Shrinks(8)), "  TASK\n  stubborn  is being stopped (out of ti…\n");
    }
}
