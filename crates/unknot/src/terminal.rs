//! What the other end of an output is: a terminal with its size and colours, or not.

use std::io::IsTerminal;

/// The width of what is no terminal: what people print on and paste into mails.
const COLUMNS_DEFAULT: usize = 80;
const ROWS_DEFAULT: usize = 24;

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Characters in a row.
    pub(crate) columns: usize,
    /// Rows.
    pub(crate) rows: usize,
}

/// The size of the terminal at standard output now; 80 × 24 if there is none or it does not say.
pub(crate) fn size() -> Size {
    let found = rustix::termios::tcgetwinsize(std::io::stdout()).ok().filter(|size| size.ws_col > 0);
    let or = |given: u16, default: usize| if given == 0 { default } else { usize::from(given) };
    match found {
        Some(size) => Size { columns: or(size.ws_col, COLUMNS_DEFAULT), rows: or(size.ws_row, ROWS_DEFAULT) },
        None => Size { columns: COLUMNS_DEFAULT, rows: ROWS_DEFAULT },
    }
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
