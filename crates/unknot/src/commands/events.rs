//! `unknot events RUN`: what happened, and what happens.

use crate::{
    args::Events,
    error::{Error, eprint_quietly},
    exit::Exit,
    feed::{Fed, Feed},
    output::{Paint, Tone, harmless},
    remote::Remote,
    source::{Source, run_id},
    time,
};
use serde_json::json;
use std::{io::Write, time::Duration};
use unknot_engine::core::row::HistoryEntry;

/// How long the wait for news is; a signal ends it as ever.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Prints events.
pub(crate) fn perform(events: &Events, out: &mut dyn Write) -> Result<Exit, Error> {
    let paint = Paint::for_stdout();
    if !events.follow {
        let mut source = Source::open(&events.at)?;
        let run = source.find(&events.run)?;
        source.each_event(&run, |entry| write(entry, events.json, paint, out))?;
        return Ok(Exit::Success);
    }
    let remote = Remote::find(&events.at)?;
    let client = remote.client().clone();
    let run = run_id(&Source::Server(Box::new(remote)).find(&events.run)?)?;
    let feed = Feed::start(client, run)?;
    let mut is_seen = true;
    loop {
        // What was printed shall be seen before more is waited for, but not each line by itself.
        let within = if is_seen { LOOK_EVERY } else { Duration::ZERO };
        match feed.next(within)? {
            Fed::Entry(entry) => {
                write(&entry, events.json, paint, out)?;
                is_seen = false;
            }
            Fed::Nothing => {
                out.flush()?;
                is_seen = true;
            }
            Fed::Lost(loss) => eprint_quietly(&format!("note: {loss}\n")),
            Fed::Found => eprint_quietly("note: the server is there again; nothing was missed\n"),
            Fed::End => return Ok(Exit::Success),
        }
    }
}

/// Prints a line of history.
pub(super) fn write(entry: &HistoryEntry, is_json: bool, paint: Paint, out: &mut dyn Write) -> Result<(), Error> {
    if is_json {
        writeln!(out, "{}", json!(entry))?;
        return Ok(());
    }
    let at = format!("{}.{:03}Z", time::moment(entry.at).trim_end_matches('Z'), entry.at.0 % 1_000);
    let kind = json!(entry.event);
    let attempt = entry.attempt.map(|attempt| format!("#{attempt}")).unwrap_or_default();
    let name = entry.name.as_deref().unwrap_or_default();
    let detail: Vec<String> = entry.detail.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let line = format!("{:<14}  {name}{attempt}  {}", kind.as_str().unwrap_or_default(), detail.join(" "));
    writeln!(out, "{}  {}", paint.tone(Tone::Faint, &at), harmless(line.trim_end()))?;
    Ok(())
}
