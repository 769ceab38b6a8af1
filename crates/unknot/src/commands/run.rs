//! `unknot run FLOW`: an engine in this process, for one run; or the server that owns the data folder.

mod choose;
mod served;
mod unhindered;
mod watch;

use crate::{
    args,
    calls::Beside,
    config::{self, Config, nicer},
    error::{Error, eprint_quietly},
    exit::Exit,
    inputs,
    looking::Looking,
    output::{Paint, count},
    progress::{Progress, View},
    remote::Remote,
    signals::{self, Interrupts},
    source::Source,
    summary,
    teller::Teller,
    terminal, time, workflow,
};
use choose::{Choice, Wanted, Wish};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::Path,
    sync::Arc,
};
use unhindered::Unhindered;
use unknot_api::{client::Address, with_causes};
use unknot_engine::{
    CommandError, Engine, Options, Submit,
    calls::Called,
    control::Control,
    convert::Checked,
    core::{
        RunId, Timestamp,
        effect::Refusal,
        run::{Idempotency, Run, RunStatus},
    },
    store::{Namespace, RunRecord, SqliteOptions, SqliteStore, Store, StoreError},
};
use unknot_hands::{GuardCommand, slots_max};
use unknot_server::{Door, StartError};
use watch::{Ended, Watch};

/// Runs a workflow to its end, or goes on with an unfinished run of it.
///
/// A reader that goes away before the end is taken for a wish to stop, as it is with other programs. An
/// output that cannot be written for another reason is told at the end.
pub(crate) fn perform(run: &args::Run, out: &mut dyn Write) -> Result<Exit, Error> {
    let mut out = Unhindered::new(out);
    let done = begin(run, &mut out);
    match (done, out.into_failure()) {
        (Err(error), _) if error.is_unheard() => Ok(Exit::Killed),
        (Ok(_), Some(failure)) => Err(failure.into()),
        (done, _) => done,
    }
}

fn begin(run: &args::Run, out: &mut dyn Write) -> Result<Exit, Error> {
    let config = Config::beside(&run.flow, &run.place)?;
    super::config::warn(config.notices());
    let server = Remote::owner(&config)?;
    let config = if server.is_some() { config.with_any_pools() } else { config };
    let checked = workflow::read(&run.flow, &config)?;
    let input = inputs::read(&run.input, &checked.definition)?;
    let interrupts = signals::listen()?;
    let mut teller = Teller { out, paint: Paint::for_stdout(), is_json: run.json };
    if !checked.warnings.problems.is_empty() {
        eprint_quietly(&checked.warnings.to_string());
    }
    let store = match server {
        Some(_) => None,
        None => Some(open(&config, &mut teller)?),
    };
    let source = config::absolute(&run.flow).display().to_string();
    let key = run.key.clone().map(|key| Idempotency { key, body_hash: checked.body_hash(&input) });
    let wish = match (&key, run.new) {
        (Some(key), _) => Wish::Keyed(key.clone()),
        (None, true) => Wish::New,
        (None, false) => Wish::Unfinished,
    };
    let wanted = Wanted { source: &source, definition: &checked.definition.body.hash, input: &input, wish };
    let (choice, calls) = match &store {
        Some(store) => {
            let mut reader = store.reader().map_err(Error::store("read the store"))?;
            let choice = choose::choose(&mut *reader, &wanted)?;
            // A run that goes on is made of what it called when it began.
            let calls = match (&choice.resume, &choice.ended) {
                (None, None) => Beside::new(&run.flow, &config, &checked).definitions(&mut *reader)?,
                _ => Called::new(),
            };
            (choice, calls)
        }
        None => (choose::choose(&mut **Looking::open(&config)?.reader(), &wanted)?, Called::new()),
    };
    let session = Session { config, checked, source, input, key, choice, calls };
    if let Some(server) = server {
        return session.at_server(&server, &interrupts, &mut teller);
    }
    match (&session.choice.ended, store) {
        (Some(ended), _) => session.repeat(ended, &mut teller),
        (None, Some(store)) => session.run(store, &interrupts, &mut teller),
        (None, None) => Err(Error::NoServer { data: session.config.data.clone() }),
    }
}

/// Opens the store for writing; the first line says which one, and whose it is.
fn open(config: &Config, teller: &mut Teller<'_>) -> Result<Box<dyn Store>, Error> {
    let data = nicer(&config.data).display().to_string();
    let (owner, opened) = match SqliteStore::open(&config.data, &SqliteOptions::default()) {
        Ok(store) => ("owned by this process".to_owned(), Ok(store)),
        Err(StoreError::Owned { path, pid }) => {
            let owner = pid.map_or("owned by another process".to_owned(), |pid| format!("owned by process {pid}"));
            (owner, Err(StoreError::Owned { path, pid }))
        }
        Err(error) => ("not usable".to_owned(), Err(error)),
    };
    teller.line("data", &format!("{data} ({owner})"))?;
    let store = opened.map_err(Error::store_in(&config.data, format!("use the data folder `{data}`")))?;
    Ok(Box::new(store))
}

/// Everything that is decided before the engine starts.
struct Session {
    config: Config,
    checked: Checked,
    source: String,
    input: Value,
    key: Option<Idempotency>,
    choice: Choice,
    /// The workflows that a new run calls, where it is made here.
    calls: Called,
}

impl Session {
    fn run(self, store: Box<dyn Store>, interrupts: &Interrupts, teller: &mut Teller<'_>) -> Result<Exit, Error> {
        let engine = Arc::new(Engine::start(store, self.options()).map_err(Error::start)?);
        let control = Control::start(&engine, super::looks);
        let door = Door::open(Arc::clone(&engine), self.config.changeable());
        let without = Without { control: control.as_ref().err(), door: door.as_ref().err() };
        let served = self.serve(&engine, interrupts, teller, &without);
        // Both share the engine: they let go first.
        drop((control, door));
        match &served {
            Ok((_, Ended::ByItself)) => stop(engine, Engine::stop),
            Ok((_, Ended::Killed)) | Err(_) => stop(engine, Engine::kill),
        }
        let (run, ended) = served?;
        match ended {
            Ended::Killed => self.sum_up(run, Exit::Killed, teller),
            Ended::ByItself => self.sum_up(run, Exit::Success, teller),
        }
    }

    /// Says how it ended; a command that was not killed ends as its run did.
    fn sum_up(&self, run: RunId, exit: Exit, teller: &mut Teller<'_>) -> Result<Exit, Error> {
        let record = Looking::open(&self.config)?.find(&run.to_string())?;
        let exit = if exit == Exit::Killed { exit } else { Exit::of(record.status()) };
        match self.print_end(&record, exit, teller) {
            // The run has ended as it has, whoever hears of it.
            Err(error) if error.is_unheard() => Ok(exit),
            printed => printed.map(|()| exit),
        }
    }

    fn print_end(&self, record: &RunRecord, exit: Exit, teller: &mut Teller<'_>) -> Result<(), Error> {
        let summary = summary::gather(&self.config, record)?;
        if teller.is_json {
            writeln!(teller.out, "{}", json!({"summary": summary.as_json(exit)}))?;
        } else {
            summary.write(exit, teller.out, teller.paint, terminal::size().columns)?;
        }
        let status = record.status();
        let next = match status {
            RunStatus::Cancelling => "the same command completes its cancellation and starts a new run",
            _ => "the same command goes on where it was",
        };
        match (exit, status.is_terminal()) {
            (Exit::Killed, false) => {
                teller.line("note", &format!("killed, exit status 130; the run is unfinished: {next}"))
            }
            (Exit::Killed, true) => teller.line("note", "killed, exit status 130: what still ran was not waited for"),
            _ => Ok(()),
        }
    }

    /// What was asked for was done before: tells how that ended.
    fn repeat(&self, record: &RunRecord, teller: &mut Teller<'_>) -> Result<Exit, Error> {
        self.start(record.id(), teller)?;
        teller.line("run", &format!("{}, which has ended under this key: nothing is run again", record.id()))?;
        let exit = Exit::of(record.status());
        self.print_end(record, exit, teller)?;
        Ok(exit)
    }

    /// Submits or resumes, and watches to the end.
    fn serve(
        &self,
        engine: &Arc<Engine>,
        interrupts: &Interrupts,
        teller: &mut Teller<'_>,
        without: &Without<'_>,
    ) -> Result<(RunId, Ended), Error> {
        let subscription = engine.subscribe();
        let (run, resumed) = match &self.choice.resume {
            Some(run) => (run.id, true),
            None => self.submit(engine)?,
        };
        let now = engine.now();
        let mut progress = Progress::new(run, Arc::clone(&self.checked.definition), now);
        if resumed {
            Looking::open(&self.config)?.take_over(&mut progress)?;
        }
        self.tell(&progress, now, teller)?;
        without.tell(teller)?;
        self.tell_holds(teller)?;
        let view = View::new(teller.is_json, &progress, Some(&self.config.data), now);
        let ending = self.choice.ending.iter().copied().collect();
        let mut watch = Watch {
            engine,
            subscription,
            progress,
            view,
            ending,
            seen: self.choice.as_of,
            cancel: None,
            is_cancel_due: false,
            is_late: false,
        };
        let ended = watch.until_the_end(interrupts, teller)?;
        Ok((run, ended))
    }

    /// Says what an operator holds of this: nothing of it starts, and nothing else would say why.
    fn tell_holds(&self, teller: &mut Teller<'_>) -> Result<(), Error> {
        let holds = Source::store(self.config.clone())?.holds()?;
        let body = &self.checked.definition.body;
        let workflow = holds.workflows.get_key_value(&*body.name).map(|found| ("workflow", found));
        let is_used = |name: &str| body.tasks.iter().any(|def| def.queue_name() == name);
        let queues = holds.queues.iter().filter(|(name, _)| is_used(name)).map(|found| ("queue", found));
        for (kind, (name, paused)) in workflow.into_iter().chain(queues) {
            let resume = format!("`unknot resume {kind} {name}{}`", self.config.data_option());
            let held = format!("{kind} `{name}` is held by {}: {resume} in another terminal lets it go on", paused.by);
            teller.line("note", &held)?;
        }
        Ok(())
    }

    fn options(&self) -> Options {
        let resumed = self.choice.resume.iter().map(|run| run.id);
        let focus: BTreeSet<RunId> = self.choice.ending.iter().copied().chain(resumed).collect();
        Options {
            data: self.config.data.clone(),
            namespace: Namespace::default(),
            slots: self.slots(),
            settings: self.config.settings.clone(),
            guard: GuardCommand::this_program(vec![crate::GUARD_WORD.into()]),
            retention: self.config.retention,
            alerts: self.config.alerts.clone(),
            focus: Some(focus),
            door: Some(Address::Local(Door::socket(&self.config.data)).to_string()),
        }
    }

    /// How many processes it runs at once: as many as are asked for, if it may open so many files.
    fn slots(&self) -> u32 {
        u32::try_from(slots_max()).map_or(self.config.slots, |most| self.config.slots.min(most))
    }

    /// Makes the run; says whether it was there, under the key, for another file of the same content.
    fn submit(&self, engine: &Engine) -> Result<(RunId, bool), Error> {
        let options = &self.checked.run;
        let attempt = format!("submit `{}`", nicer(Path::new(&self.source)).display());
        let failed = |source| match source {
            CommandError::Refused(Refusal::KeyReused { key, run }) => Error::KeyReused { key, run },
            source => Error::Command { attempt: attempt.clone(), source },
        };
        let accepted = engine
            .submit(Submit {
                definition: Arc::clone(&self.checked.definition),
                input: self.input.clone(),
                labels: options.labels.clone(),
                client_id: options.client_id.clone(),
                idempotency: self.key.clone(),
                source: Some(self.source.clone()),
                start_at: self.start_at(engine.now()),
                takes_over: None,
                calls: self.calls.clone(),
            })
            .map_err(failed)?;
        let focus = self.choice.ending.iter().copied().chain([accepted.run]).collect();
        engine.focus(Some(focus)).map_err(failed)?;
        Ok((accepted.run, accepted.existing))
    }

    /// When its tasks may start, if the workflow says so.
    fn start_at(&self, now: Timestamp) -> Option<Timestamp> {
        let options = &self.checked.run;
        options.start_at.or(options.delay.map(|delay| now.plus(delay)))
    }

    /// What this process is about to do, in a few lines.
    fn tell(&self, progress: &Progress, now: Timestamp, teller: &mut Teller<'_>) -> Result<(), Error> {
        let run = progress.run;
        let total = count(progress.total(), "task");
        self.start(run, teller)?;
        let what = match &self.choice.resume {
            None => format!("{run}, {total}"),
            Some(resumed) => format!("{run}, {} ({} of {total} done)", self.resumed(resumed, now), progress.done()),
        };
        teller.line("run", &what)?;
        if self.choice.resume.is_none()
            && let Some(at) = self.start_at(now)
        {
            teller.line("note", &format!("its tasks start at {}", time::moment(at)))?;
        }
        if self.slots() < self.config.slots {
            let (asked, given) = (self.config.slots, self.slots());
            let text = format!(
                "`worker.slots` is {asked}, but this process may open too few files for more than {given}: it works \
                 with {given} (`ulimit -Hn` shows the limit)"
            );
            teller.line("note", &text)?;
        }
        let option = self.config.data_option();
        for note in self.choice.notes(&option) {
            teller.line("note", &note)?;
        }
        Ok(())
    }

    /// The first line for programs.
    fn start(&self, run: RunId, teller: &mut Teller<'_>) -> Result<(), Error> {
        if teller.is_json {
            let start = json!({"start": {
                "run": run,
                "workflow": self.checked.definition.body.name,
                "resumed": self.choice.resume.is_some(),
                "tasks": self.checked.definition.body.tasks.len(),
                "data": self.config.data,
            }});
            writeln!(teller.out, "{start}")?;
            teller.out.flush()?;
        }
        Ok(())
    }

    fn resumed(&self, run: &Run, now: Timestamp) -> String {
        format!("unfinished since {}: resumed where it was", time::ago(now, run.submitted_at).trim_end_matches(" ago"))
    }
}

/// What could not be opened for those outside of this process, and is done without.
struct Without<'e> {
    control: Option<&'e io::Error>,
    door: Option<&'e StartError>,
}

impl Without<'_> {
    fn tell(&self, teller: &mut Teller<'_>) -> Result<(), Error> {
        if let Some(error) = self.control {
            teller.line("note", &format!("`unknot cancel` from another terminal will not reach this run: {error}"))?;
        }
        if let Some(error) = self.door {
            let why = with_causes(error);
            teller.line("note", &format!("`unknot lock`, `wait` and `spawn` will not work in its tasks: {why}"))?;
        }
        Ok(())
    }
}

/// Ends an engine, unless somebody still waits for an answer of it: then the end of the process ends
/// everything, since the guard outlives no worker.
fn stop(engine: Arc<Engine>, how: fn(Engine)) {
    if let Some(engine) = Arc::into_inner(engine) {
        how(engine);
    }
}
