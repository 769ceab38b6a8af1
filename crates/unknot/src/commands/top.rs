//! `unknot top`: what goes on at a server, looked at each second.
//!
//! The looking is done on a thread of its own (`top/look.rs`), so that the screen answers its keys whatever the
//! server does; `top/frame.rs` turns what was seen into lines.

mod frame;
mod look;
mod screen;

use crate::{args::Top, error::Error, exit::Exit, output::Paint, remote::Remote, signals, terminal};
use frame::Frame;
use look::{Look, Seen};
use screen::{Key, Screen};
use std::{io::Write, time::Duration};
use unknot_engine::{Clock, core::Timestamp};

/// How long the wait for a key is before the signals are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Watches.
pub(crate) fn perform(top: &Top, out: &mut dyn Write) -> Result<Exit, Error> {
    let remote = Remote::find(&top.at)?;
    let place = remote.place();
    let clock = Clock::starting_at_least(Timestamp::default());
    if top.json || !terminal::can_redraw() {
        let seen = remote.ask("look at the server", look::once(remote.client().clone()))?;
        if top.json {
            writeln!(out, "{}", serde_json::json!(seen))?;
        } else {
            let frame = Frame { seen: &seen, place: &place, now: clock.now(), paint: Paint::for_stdout() };
            out.write_all(frame.text(terminal::size().columns, usize::MAX).as_bytes())?;
        }
        return Ok(Exit::Success);
    }
    let interrupts = signals::listen()?;
    let look = Look::start(remote.client().clone())?;
    let mut screen = Screen::open(out)?;
    let mut seen: Option<Seen> = None;
    let mut trouble: Option<String> = None;
    loop {
        let mut is_new = screen.has_changed_size();
        while let Some(found) = look.take() {
            is_new = true;
            match found {
                Ok(found) => {
                    seen = Some(found);
                    trouble = None;
                }
                Err(error) if seen.is_none() => return Err(Error::client("look at the server")(error)),
                Err(error) => trouble = Some(error.to_string()),
            }
        }
        if let (true, Some(seen)) = (is_new, &seen) {
            let frame = Frame { seen, place: &place, now: clock.now(), paint: Paint::for_stdout() };
            screen.draw(&frame.screen(terminal::size(), trouble.as_deref()))?;
        }
        if interrupts.take().is_some() || screen.key(LOOK_EVERY)? == Some(Key::End) {
            return Ok(Exit::Success);
        }
    }
}
