//! `unknot logs RUN [TASK]`: what tasks printed, and go on printing.

use crate::{
    args::Logs,
    attempt_folder,
    config::Config,
    error::{Error, eprint_quietly},
    exit::Exit,
    looking::{Looking, idle},
    nearest::nearest,
    output::{Paint, Tone, pad, width},
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, IsTerminal, Read, Seek, SeekFrom, Write},
    ops::RangeInclusive,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use unknot_engine::{
    control,
    core::{AttemptId, RunId, TaskIndex, run::Task, workflow::Definition},
};
use unknot_hands::LOG_PART_BYTES;

/// Pause between two looks at growing files.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A look at the store takes at most this share of the time: it is a big one for a big run.
const STORE_SHARE: u32 = 10;
/// Columns of the names in front of lines.
const NAME_COLUMNS_MAX: usize = 24;
/// Bytes read at once, and the longest line that is kept together.
const CHUNK: usize = 64 * 1024;

/// Prints logs.
pub(crate) fn perform(logs: &Logs, out: &mut dyn Write) -> Result<Exit, Error> {
    let config = Config::here(&logs.place)?;
    let mut looking = Looking::open(&config)?;
    let mut record = looking.find(&logs.run)?;
    let definition = looking.definition(record.run())?;
    let only = match &logs.task {
        Some(name) => Some(task_named(&definition, name, record.id())?),
        None => None,
    };
    let mut printer = Printer::new(logs, Arc::clone(&definition), &config, only);
    let mut newest = Newest::default();
    let mut is_idle = false;
    loop {
        let looked = Instant::now();
        let mut wanted = Vec::new();
        let mut is_open = !record.status().is_terminal();
        looking.each_task(&record, &definition, |index, task| {
            if only.is_none_or(|only| only == index) {
                is_open &= only.is_none() || task.end().is_none();
                let numbers = numbers(logs, task, newest.replace(index, task));
                wanted.extend(numbers.map(|number| record.id().task(index).attempt(number)));
            }
        })?;
        let pause = (looked.elapsed() * STORE_SHARE).max(LOOK_EVERY);
        printer.print(&wanted, out)?;
        if !logs.follow || !is_open {
            break;
        }
        out.flush()?;
        printer.tell_full();
        if !is_idle && !control::is_served(&config.data) {
            is_idle = true;
            eprint_quietly(&format!("note: {}\n", idle(record.run(), &config)));
        }
        thread::sleep(pause);
        record = looking.find(&record.id().to_string())?;
    }
    printer.finish(out)?;
    if printer.found_nothing() && !logs.follow {
        let what = match &logs.task {
            Some(task) => format!("task `{task}` of run `{}`", record.id()),
            None => format!("run `{}`", record.id()),
        };
        return Err(Error::NoLog { what });
    }
    Ok(Exit::Success)
}

fn task_named(definition: &Definition, name: &str, run: RunId) -> Result<TaskIndex, Error> {
    definition.find(name).ok_or_else(|| {
        let names = definition.body.tasks.iter().map(|task| task.name.as_ref());
        Error::NoSuchTask { run, task: name.to_owned(), nearest: nearest(name, names).map(str::to_owned) }
    })
}

/// The newest attempt of each task at the last look.
#[derive(Default)]
struct Newest(BTreeMap<TaskIndex, u32>);

impl Newest {
    /// Takes the newest attempt of a task; gives that of the last look.
    fn replace(&mut self, index: TaskIndex, task: &Task) -> Option<u32> {
        self.0.insert(index, task.attempts)
    }
}

/// The attempts of a task whose logs are wanted. Whoever follows gets the rest of the one that was the
/// newest at the last look too: what it printed before it failed is what one follows for.
fn numbers(logs: &Logs, task: &Task, before: Option<u32>) -> RangeInclusive<u32> {
    let newest = task.attempts;
    match logs.attempt {
        Some(number) => number..=number,
        None if logs.all => 1..=newest,
        None => before.unwrap_or(newest).max(1)..=newest,
    }
}

/// Prints what is new in logs.
struct Printer<'l> {
    definition: Arc<Definition>,
    data: &'l Path,
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
}

impl<'l> Printer<'l> {
    fn new(logs: &Logs, definition: Arc<Definition>, config: &'l Config, only: Option<TaskIndex>) -> Self {
        let widest = definition.body.tasks.iter().map(|task| width(&task.name)).max().unwrap_or_default();
        Self {
            definition,
            data: &config.data,
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

    fn print(&mut self, wanted: &[AttemptId], out: &mut dyn Write) -> Result<(), Error> {
        for attempt in wanted {
            let path = attempt_folder::log(self.data, *attempt, &self.definition.task(attempt.task.index).name);
            let mut file = match attempt_folder::open(&path) {
                Ok(file) => file,
                // It has not begun yet, or its task needs no process.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(Error::Log { attempt: "read the log", path, source }),
            };
            self.print_new(*attempt, &mut file, &path, out)?;
        }
        Ok(())
    }

    /// Says, once of each, that a log takes nothing more while its attempt goes on.
    fn tell_full(&mut self) {
        for (attempt, position) in &mut self.logs {
            if position.offset == LOG_PART_BYTES && !std::mem::replace(&mut position.is_told, true) {
                let name = &self.definition.task(attempt.task.index).name;
                let size = LOG_PART_BYTES >> 20;
                let text = format!("note: `{name}` has printed {size} MiB; the last {size} MiB follow when it ends\n");
                eprint_quietly(&text);
            }
        }
    }

    fn print_new(
        &mut self,
        attempt: AttemptId,
        file: &mut File,
        path: &Path,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let mut position = self.logs.remove(&attempt).unwrap_or_default();
        let unreadable = |source| Error::Log { attempt: "read the log", path: path.to_path_buf(), source };
        file.seek(SeekFrom::Start(position.offset)).map_err(unreadable)?;
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = file.read(&mut chunk).map_err(unreadable)?;
            if length == 0 {
                break;
            }
            position.offset += length as u64;
            self.text(attempt, &mut position, &chunk[..length], out)?;
        }
        self.logs.insert(attempt, position);
        Ok(())
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
        let name = pad(&self.definition.task(attempt.task.index).name, self.name_columns);
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
        // A file gets a log as it is; on a terminal the prompt stands on a line of its own.
        if io::stdout().is_terminal() {
            self.close_line(out)?;
        }
        out.flush()
    }

    fn close_line(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::take(&mut self.is_open) { out.write_all(b"\n") } else { Ok(()) }
    }
}
