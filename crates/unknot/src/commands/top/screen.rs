//! A terminal that is drawn upon as a whole, and given back as it was.

use crate::{
    error::Error,
    terminal::{self, Size},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr},
    time::Timespec,
};
use std::{
    io::{self, IsTerminal, Read, Write},
    thread,
    time::Duration,
};

/// The other screen, without a cursor, and cutting what is wider than it is; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// What was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// `q`, or the end of what can be typed.
    End,
}

/// The terminal, ours until this is dropped.
pub(super) struct Screen<'o> {
    out: &'o mut dyn Write,
    /// How keys were read before, if somebody can type.
    before: Option<Termios>,
    size: Option<Size>,
}

impl<'o> Screen<'o> {
    /// Takes the terminal.
    ///
    /// # Errors
    /// If it cannot be written to.
    pub(super) fn open(out: &'o mut dyn Write) -> Result<Self, Error> {
        let before = if io::stdin().is_terminal() { tcgetattr(io::stdin()).ok() } else { None };
        if let Some(before) = &before {
            let mut keys = before.clone();
            // Keys come at once and are not shown; Ctrl-C stays a signal.
            keys.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            // A terminal that refuses goes on as it was: then `q` needs a line of its own.
            tcsetattr(io::stdin(), OptionalActions::Now, &keys).unwrap_or_default();
        }
        let screen = Self { out, before, size: None };
        screen.out.write_all(ENTER.as_bytes())?;
        screen.out.flush()?;
        Ok(screen)
    }

    /// Whether the terminal has another size than at the last call.
    pub(super) fn has_changed_size(&mut self) -> bool {
        let now = Some(terminal::size());
        std::mem::replace(&mut self.size, now) != now
    }

    /// Draws these lines from the top, and nothing below.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut text = "\x1b[H".to_owned();
        for (place, line) in lines.iter().enumerate() {
            if place > 0 {
                text.push_str("\r\n");
            }
            text.push_str(line);
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// A key that means something, waited for at most so long.
    ///
    /// # Errors
    /// If the terminal cannot be read.
    pub(super) fn key(&self, within: Duration) -> Result<Option<Key>, Error> {
        if self.before.is_none() {
            thread::sleep(within);
            return Ok(None);
        }
        let stdin = io::stdin();
        let limit = Timespec::try_from(within).ok();
        let mut wanted = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut wanted, limit.as_ref()) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(None),
            Err(error) => return Err(Error::Output(error.into())),
        }
        let mut typed = [0; 64];
        let length = stdin.lock().read(&mut typed)?;
        let is_end = length == 0 || typed[..length].iter().any(|key| matches!(key, b'q' | b'Q'));
        Ok(is_end.then_some(Key::End))
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            tcsetattr(io::stdin(), OptionalActions::Now, before).unwrap_or_default();
        }
        // A terminal that is gone needs nothing back.
        self.out.write_all(LEAVE.as_bytes()).and_then(|()| self.out.flush()).unwrap_or_default();
    }
}
