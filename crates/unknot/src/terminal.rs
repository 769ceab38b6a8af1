//! What the other end of an output is: a terminal with its size and colours, or not.

use std::io::IsTerminal;

/// The width of a terminal that does not say.
const COLUMNS_DEFAULT: usize = 80;
/// The width of what is no terminal: whoever reads a file or the next program cuts by itself, or not at all.
const COLUMNS_UNBOUNDED: usize = 10_000;
const ROWS_DEFAULT: usize = 24;

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Characters in a row.
    pub(crate) columns: usize,
    /// Rows.
    pub(crate) rows: usize,
}

/// The size of the terminal at standard output now; 80 × 24 if it does not say. What is no terminal is as wide as
/// `COLUMNS` says, else as its lines are.
pub(crate) fn size() -> Size {
    let found = rustix::termios::tcgetwinsize(std::io::stdout());
    let or = |given: u16, default: usize| if given == 0 { default } else { usize::from(given) };
    match found {
        Ok(size) => Size { columns: or(size.ws_col, COLUMNS_DEFAULT), rows: or(size.ws_row, ROWS_DEFAULT) },
        Err(_) => Size { columns: columns_wanted().unwrap_or(COLUMNS_UNBOUNDED), rows: ROWS_DEFAULT },
    }
}

fn columns_wanted() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.parse().ok().filter(|columns| (20..=COLUMNS_UNBOUNDED).contains(columns))
}

/// Whether standard output is a terminal on which lines can be drawn again.
pub(crate) fn can_redraw() -> bool {
    std::io::stdout().is_terminal() && !is_dumb()
}

/// Whether standard output takes colours: a terminal, and nobody said no (<https://no-color.org>).
pub(crate) fn takes_colours() -> bool {
    can_redraw() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Who sits here, for the history of what is asked for.
pub(crate) fn user() -> String {
    std::env::var("USER").unwrap_or_else(|_| format!("uid {}", rustix::process::geteuid().as_raw()))
}
