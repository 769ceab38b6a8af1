//! The server's log: a queue with a bound, and one thread that writes.
//!
//! A log that cannot be written, or not fast enough, never holds up work. What is lost is counted, and
//! said in the log as soon as it goes on.

mod form;
mod sink;

use crate::config::{Value, Values};
use log::{Level, LevelFilter, Log, Metadata, Record};
use sink::Sink;
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};
use unknot_engine::{Clock, core::Timestamp};

/// Lines that may wait to be written.
const QUEUE_MAX: usize = 4_096;
/// How long the end of the program waits for the last lines.
const FAREWELL: Duration = Duration::from_secs(1);

/// How the log is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logging {
    /// What is said, and all that is worse.
    pub(crate) level: LevelFilter,
    /// How a line looks.
    pub(crate) format: Format,
    /// Where it goes; nothing: standard error.
    pub(crate) file: Option<PathBuf>,
    /// Bytes from which on a new file begins.
    pub(crate) size_max: u64,
    /// Older files that stay.
    pub(crate) keep: u64,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Default for Logging {
    fn default() -> Self {
        Self { level: LevelFilter::Info, format: Format::Text, file: None, size_max: 16 << 20, keep: 5 }
    }
}

impl Logging {
    /// What the configuration says, with the path of the file as it was found out.
    pub(crate) fn from_values(values: &Values, file: Option<PathBuf>) -> Self {
        let is = |key: &str, word: &str| *values.get(key, None) == Value::Text(word.to_owned());
        let levels = [
            LevelFilter::Off,
            LevelFilter::Error,
            LevelFilter::Warn,
            LevelFilter::Info,
            LevelFilter::Debug,
            LevelFilter::Trace,
        ];
        let level = levels.into_iter().find(|level| is("logging.level", &level.as_str().to_ascii_lowercase()));
        Self {
            level: level.unwrap_or(LevelFilter::Info),
            format: if is("logging.format", "json") { Format::Json } else { Format::Text },
            file,
            size_max: values.number("logging.rotation.size", None),
            keep: values.number("logging.rotation.keep", None),
        }
    }
}

/// A line as it was said.
#[derive(Debug)]
struct Line {
    at: Timestamp,
    level: Level,
    target: String,
    message: String,
    pairs: Vec<(String, serde_json::Value)>,
}

#[derive(Debug)]
enum Message {
    Line(Box<Line>),
    /// From now on so; also opens the file anew.
    Become(Logging),
    /// Everything before this is written once the sender is dropped.
    End(SyncSender<()>),
}

/// The log of this process.
#[derive(Clone)]
pub(crate) struct Journal {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    clock: Clock,
}

impl Journal {
    /// Has all that is said in this process written from now on.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(logging: Logging) -> io::Result<Self> {
        let level = logging.level;
        let (journal, messages) = Self::new();
        let (dropped, clock) = (Arc::clone(&journal.dropped), journal.clock.clone());
        let write = move || write(&messages, Sink::new(logging), &dropped, &clock);
        thread::Builder::new().name("unknot-log".to_owned()).spawn(write)?;
        // Fails only if there is one already, which then does the same.
        log::set_boxed_logger(Box::new(journal.clone())).unwrap_or_default();
        log::set_max_level(level);
        Ok(journal)
    }

    fn new() -> (Self, Receiver<Message>) {
        let (queue, messages) = sync_channel(QUEUE_MAX);
        let clock = Clock::starting_at_least(Timestamp::default());
        (Self { queue, dropped: Arc::default(), clock }, messages)
    }

    /// Goes on in another way, and opens the file anew.
    pub(crate) fn become_like(&self, logging: &Logging) {
        log::set_max_level(logging.level);
        // A queue that is full belongs to a log that cannot be written: the next reload tries again.
        self.send(Message::Become(logging.clone()));
    }

    /// Waits a moment for what was said to be written.
    pub(crate) fn finish(&self) {
        let (written, end) = sync_channel(1);
        if self.send(Message::End(written)) {
            // Whether it was written or the time was over: the program ends.
            end.recv_timeout(FAREWELL).unwrap_or_default();
        }
    }

    fn send(&self, message: Message) -> bool {
        let is_sent = self.queue.try_send(message).is_ok();
        if !is_sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        is_sent
    }
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Of other people's crates only what is wrong.
        metadata.level() <= Level::Warn || metadata.target().starts_with("unknot")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut pairs = form::Pairs::default();
        // The visitor refuses nothing.
        record.key_values().visit(&mut pairs).unwrap_or_default();
        self.send(Message::Line(Box::new(Line {
            at: self.clock.now(),
            level: record.level(),
            target: record.target().to_owned(),
            message: form::clipped(&record.args().to_string()),
            pairs: pairs.0,
        })));
    }

    fn flush(&self) {}
}

/// Writes until nobody can say anything any more.
fn write(messages: &Receiver<Message>, mut sink: Sink, dropped: &AtomicU64, clock: &Clock) {
    while let Ok(message) = messages.recv() {
        // A machine that slept is the usual reason for it to be ahead.
        clock.follow_wall();
        let lost = dropped.swap(0, Ordering::Relaxed);
        match message {
            Message::Line(line) => sink.say(&line),
            Message::Become(logging) => sink.become_like(logging),
            // Dropping the sender is the answer.
            Message::End(written) => drop(written),
        }
        if lost > 0 {
            sink.say(&Line::own(
                clock.now(),
                format!("{lost} lines of this log are lost: it could not be written fast enough"),
            ));
        }
    }
}

impl Line {
    /// What the log says of itself.
    fn own(at: Timestamp, message: String) -> Self {
        Self { at, level: Level::Warn, target: "unknot::logging".to_owned(), message, pairs: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_nobody_writes_holds_up_nobody_and_says_what_is_lost() {
        let (journal, messages) = Journal::new();
        for number in 0..QUEUE_MAX + 7 {
            journal.log(&Record::builder().target("unknot").args(format_args!("line {number}")).build());
        }
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("log");
        let (dropped, clock) = (Arc::clone(&journal.dropped), journal.clock.clone());
        assert_eq!(dropped.load(Ordering::Relaxed), 7);
        drop(journal);
        write(&messages, Sink::new(Logging { file: Some(file.clone()), ..Logging::default() }), &dropped, &clock);
        let text = std::fs::read_to_string(file).expect("written");
        assert!(text.lines().count() == QUEUE_MAX + 1, "each line that fitted, and the word about the others");
        assert!(text.contains("7 lines of this log are lost"), "{text:.300}");
    }
}
