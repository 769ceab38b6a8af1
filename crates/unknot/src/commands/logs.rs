//! `unknot logs RUN [TASK]`: what tasks printed, and go on printing.

use super::show::has_ended;
use crate::{
    args::Logs,
    error::{Error, eprint_quietly},
    exit::Exit,
    feed::Loss,
    looking::idle,
    output::{Paint, Tone, harmless, pad, width},
    source::{Source, Tried, run_id},
};
use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
    ops::RangeInclusive,
    thread,
    time::{Duration, Instant},
};
use unknot_api::{client::Limits, rest};
use unknot_engine::core::{AttemptId, RunId, TaskIndex, validate::nearest};
use unknot_hands::LOG_PART_BYTES;

/// Pause between two looks at growing files.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A look takes at most this share of the time: it is a big one for a big run.
const LOOK_SHARE: u32 = 10;
/// Columns of the names in front of lines.
const NAME_COLUMNS_MAX: usize = 24;
/// Tasks that are named of those with several attempts.
const AGAIN_NAMED_MAX: usize = 3;
/// The longest line that is kept together.
const CHUNK: usize = 64 * 1024;

/// Prints logs.
pub(crate) fn perform(logs: &Logs, out: &mut dyn Write) -> Result<Exit, Error> {
    let mut source = Source::open(&logs.at)?;
    let mut run = source.find(&logs.run)?;
    let id = run_id(&run)?;
    let mut tried = source.tried(&run, None)?;
    let only = match &logs.task {
        Some(name) => Some(task_named(&tried, name, id)?),
        None => None,
    };
    let mut reading = Reading {
        logs,
        only,
        printer: Printer::new(logs, &tried, only),
        newest: Newest::default(),
        is_idle: false,
        lost_since: None,
    };
    if logs.follow {
        reading.tell_others(&source, &run, &tried);
    }
    loop {
        let looked = Instant::now();
        let is_open = match reading.print(&source, &run, &tried, out) {
            Ok(is_open) => is_open,
            Err(error) => reading.lose(error, out).map(|()| true)?,
        };
        let pause = (looked.elapsed() * LOOK_SHARE).max(LOOK_EVERY);
        if !logs.follow || !is_open {
            break;
        }
        out.flush()?;
        reading.tell_idle(&source, &run);
        thread::sleep(pause);
        match source.find(&id.to_string()).and_then(|run| Ok((source.tried(&run, only)?, run))) {
            Ok(found) => {
                (tried, run) = found;
                reading.find();
            }
            Err(error) => reading.lose(error, out)?,
        }
    }
    reading.printer.finish(out)?;
    if !logs.follow {
        reading.tell_others(&source, &run, &tried);
    }
    if reading.printer.found_nothing() && !logs.follow {
        let what = match &logs.task {
            Some(task) => format!("task `{task}` of run `{id}`"),
            None => format!("run `{id}`"),
        };
        return Err(Error::NoLog { what });
    }
    Ok(Exit::Success)
}

/// Logs that are read again and again.
struct Reading<'l> {
    logs: &'l Logs,
    only: Option<TaskIndex>,
    printer: Printer,
    newest: Newest,
    /// Whether it was said that nobody serves the run.
    is_idle: bool,
    /// Since when the server is not reached.
    lost_since: Option<Instant>,
}

impl Reading<'_> {
    /// Prints what is new; says whether more may come.
    fn print(&mut self, source: &Source, run: &rest::Run, tried: &[Tried], out: &mut dyn Write) -> Result<bool, Error> {
        let (id, only) = (run_id(run)?, self.only);
        let mut is_open = !has_ended(run);
        let mut wanted = Vec::new();
        for task in tried.iter().filter(|task| only.is_none_or(|only| only == task.index)) {
            is_open &= only.is_none() || !task.has_ended;
            let numbers = numbers(self.logs, task.attempts, self.newest.before(task));
            let goes_on = |number| task.is_running && number == task.attempts;
            wanted.extend(numbers.map(|number| (id.task(task.index).attempt(number), goes_on(number))));
        }
        self.printer.print(source, &wanted, out)?;
        // Only now: what could not be read has to be read the next time.
        tried.iter().for_each(|task| self.newest.replace(task));
        Ok(is_open)
    }

    /// Says of which tasks only the newest of several attempts is printed, and how the others are seen.
    fn tell_others(&self, source: &Source, run: &rest::Run, tried: &[Tried]) {
        if self.logs.attempt.is_some() || self.logs.all {
            return;
        }
        let only = |task: &&Tried| self.only.is_none_or(|only| only == task.index);
        let again: Vec<&Tried> = tried.iter().filter(only).filter(|task| task.attempts > 1).collect();
        let (id, option) = (&run.summary.run_id, source.option());
        match &again[..] {
            [] => {}
            [one] => {
                let (name, attempts) = (harmless(&one.name), one.attempts);
                let earlier = format!("`unknot logs {id} {name} --attempt {}{option}`", attempts - 1);
                eprint_quietly(&format!(
                    "note: this is attempt {attempts} of `{name}`; {earlier} shows the one before, `--all` all of them\n"
                ));
            }
            many => {
                let names: Vec<String> =
                    many.iter().take(AGAIN_NAMED_MAX).map(|task| format!("`{}`", harmless(&task.name))).collect();
                let more = match many.len() - names.len() {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let names = names.join(", ");
                eprint_quietly(&format!(
                    "note: {names}{more} were tried more than once: `unknot logs {id} --all{option}` shows all attempts\n"
                ));
            }
        }
    }

    fn tell_idle(&mut self, source: &Source, run: &rest::Run) {
        self.printer.tell_full();
        if !self.is_idle && !source.is_served() {
            self.is_idle = true;
            let told = source.config().map(|config| idle(run, config));
            eprint_quietly(&format!("note: {}\n", told.unwrap_or_default()));
        }
    }

    /// Whoever follows waits for a server that is gone for a moment, and is told once.
    fn lose(&mut self, error: Error, out: &mut dyn Write) -> Result<(), Error> {
        // As long as a stream of events is tried again.
        let patience = Limits::default().patience;
        let is_first = self.lost_since.is_none();
        let since = *self.lost_since.get_or_insert_with(Instant::now);
        // On a terminal what is said of it is seen as well, and what a task printed may be no whole line.
        self.printer.close_shown_line(out)?;
        let Error::Client { source, .. } = &error else { return Err(error) };
        if !self.logs.follow || !source.is_passing() {
            return Err(error);
        }
        if is_first {
            eprint_quietly(&format!("note: {}\n", Loss::of(source, patience)));
        }
        if since.elapsed() > patience {
            return Err(error);
        }
        Ok(())
    }

    /// It is there again.
    fn find(&mut self) {
        if self.lost_since.take().is_some() {
            eprint_quietly("note: the server is there again; nothing was missed\n");
        }
    }
}

fn task_named(tasks: &[Tried], name: &str, run: RunId) -> Result<TaskIndex, Error> {
    let found = tasks.iter().find(|task| task.name == name).map(|task| task.index);
    found.ok_or_else(|| {
        let names = tasks.iter().map(|task| task.name.as_str());
        Error::NoSuchTask { run, task: name.to_owned(), nearest: nearest(name, names).map(str::to_owned) }
    })
}

/// The newest attempt of each task at the last look.
#[derive(Default)]
struct Newest(BTreeMap<TaskIndex, u32>);

impl Newest {
    /// The newest attempt of a task at the last look.
    fn before(&self, task: &Tried) -> Option<u32> {
        self.0.get(&task.index).copied()
    }

    /// Takes the newest attempt of a task.
    fn replace(&mut self, task: &Tried) {
        self.0.insert(task.index, task.attempts);
    }
}

/// The attempts of a task whose logs are wanted. Whoever follows gets the rest of the one that was the
/// newest at the last look too: what it printed before it failed is what one follows for.
fn numbers(logs: &Logs, newest: u32, before: Option<u32>) -> RangeInclusive<u32> {
    match logs.attempt {
        Some(number) => number..=number,
        None if logs.all => 1..=newest,
        None => before.unwrap_or(newest).max(1)..=newest,
    }
}

/// Prints what is new in logs.
struct Printer {
    /// The names of tasks.
    tasks: BTreeMap<TaskIndex, String>,
    /// Whether lines stand behind the name of their task.
    names: bool,
    name_columns: usize,
    all: bool,
    paint: Paint,
    logs: BTreeMap<AttemptId, Position>,
    /// The attempt whose text was printed last, where lines have no names.
    last: Option<AttemptId>,
    /// Whether what was printed last was no whole line.
    is_open: bool,
}

/// How far a log was printed.
#[derive(Default)]
struct Position {
    offset: u64,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
    /// Whether it was said that it is full.
    is_told: bool,
    /// Whether it was read after its attempt had ended.
    is_whole: bool,
}

impl Printer {
    fn new(logs: &Logs, tasks: &[Tried], only: Option<TaskIndex>) -> Self {
        let widest = tasks.iter().map(|task| width(&task.name)).max().unwrap_or_default();
        Self {
            tasks: tasks.iter().map(|task| (task.index, task.name.clone())).collect(),
            names: only.is_none(),
            name_columns: widest.min(NAME_COLUMNS_MAX),
            all: logs.all,
            paint: Paint::for_stdout(),
            logs: BTreeMap::new(),
            last: None,
            is_open: false,
        }
    }

    fn found_nothing(&self) -> bool {
        self.logs.is_empty()
    }

    fn name(&self, attempt: AttemptId) -> &str {
        self.tasks.get(&attempt.task.index).map(String::as_str).unwrap_or_default()
    }

    /// Prints what is new of these attempts, each with whether it goes on.
    fn print(&mut self, source: &Source, wanted: &[(AttemptId, bool)], out: &mut dyn Write) -> Result<(), Error> {
        for (attempt, goes_on) in wanted {
            if self.logs.get(attempt).is_some_and(|position| position.is_whole) {
                continue;
            }
            let mut position = self.logs.remove(attempt).unwrap_or_default();
            let (name, from) = (self.name(*attempt).to_owned(), position.offset);
            let read = source.read_log(*attempt, &name, from, &mut |text| {
                position.offset += text.len() as u64;
                Ok(self.text(*attempt, &mut position, text, out)?)
            });
            position.is_whole = !goes_on;
            if read? {
                self.logs.insert(*attempt, position);
            }
        }
        Ok(())
    }

    /// Says, once of each, that a log takes nothing more while its attempt goes on.
    fn tell_full(&mut self) {
        for (attempt, position) in &mut self.logs {
            if position.offset == LOG_PART_BYTES && !std::mem::replace(&mut position.is_told, true) {
                let name = self.tasks.get(&attempt.task.index).map(String::as_str).unwrap_or_default();
                let size = LOG_PART_BYTES >> 20;
                let text = format!("note: `{name}` has printed {size} MiB; the last {size} MiB follow when it ends\n");
                eprint_quietly(&text);
            }
        }
    }

    /// One task's text goes out as it is; of several, only whole lines do, each behind its name.
    fn text(
        &mut self,
        attempt: AttemptId,
        position: &mut Position,
        text: &[u8],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if !self.names {
            if self.last != Some(attempt) && (self.all || self.last.is_some()) {
                self.close_line(out)?;
                let heading = format!("── attempt {} ──\n", attempt.number);
                out.write_all(self.paint.tone(Tone::Faint, &heading).as_bytes())?;
            }
            self.last = Some(attempt);
            self.is_open = !text.ends_with(b"\n");
            return out.write_all(text);
        }
        position.rest.extend_from_slice(text);
        let rest = std::mem::take(&mut position.rest);
        let mut lines = rest.split_inclusive(|&byte| byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            let is_whole = line.ends_with(b"\n") || line.len() >= CHUNK;
            if is_whole || lines.peek().is_some() {
                self.line(attempt, line, out)?;
            } else {
                position.rest = line.to_vec();
            }
        }
        Ok(())
    }

    fn line(&self, attempt: AttemptId, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let name = pad(self.name(attempt), self.name_columns);
        let number = if self.all { format!("#{}", attempt.number) } else { String::new() };
        out.write_all(self.paint.tone(Tone::Live, &name).as_bytes())?;
        out.write_all(self.paint.tone(Tone::Faint, &format!("{number} │ ")).as_bytes())?;
        out.write_all(line.strip_suffix(b"\n").unwrap_or(line))?;
        out.write_all(b"\n")
    }

    /// Prints lines that never got an end.
    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        for (attempt, position) in &self.logs {
            if !position.rest.is_empty() {
                self.line(*attempt, &position.rest, out)?;
            }
        }
        self.close_shown_line(out)
    }

    /// A file gets a log as it is; on a terminal the prompt, or a note, stands on a line of its own.
    fn close_shown_line(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if io::stdout().is_terminal() {
            self.close_line(out)?;
        }
        out.flush()
    }

    fn close_line(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::take(&mut self.is_open) { out.write_all(b"\n") } else { Ok(()) }
    }
}
