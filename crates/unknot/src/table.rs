//! Columns that fit the width they are given.

use crate::output::{Paint, Tone, fit, pad, width};
use std::io::{self, Write};

/// Space between two columns.
const GAP: usize = 2;

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
            for (place, cell) in row.iter().enumerate() {
                let is_last = place + 1 == row.len();
                line.push_str(&self.cell(cell, self.columns[place], widths[place], is_last, paint));
                if !is_last {
                    line.push_str(&" ".repeat(GAP));
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn cell(&self, cell: &Cell, column: Column, columns: usize, is_last: bool, paint: Paint) -> String {
        let text = match column {
            Column::Right => {
                let text = fit(&cell.text, columns);
                format!("{}{text}", " ".repeat(columns.saturating_sub(width(&text))))
            }
            Column::Whole | Column::Shrinks(_) if is_last => fit(&cell.text, columns),
            Column::Whole | Column::Shrinks(_) => pad(&cell.text, columns),
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
                Column::Shrinks(least) if width > least => Some((width, place)),
                _ => None,
            };
            let Some((_, place)) = widths.iter().enumerate().filter_map(gives).max() else { break };
            widths[place] -= 1;
            excess -= 1;
        }
        widths
    }
}
