//! `unknot worker`: performs attempts of a server, here, until it is told to end.

use super::serve::{Wish, listen_for_signals};
use crate::{args::Worker as Asked, error::Error, exit::Exit, remote::Remote as Server};
use std::{
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::Receiver},
    time::{Duration, Instant},
};
use tokio::{runtime::Builder, sync::watch, task::JoinHandle};
use unknot_api::work::Command;
use unknot_engine::{Clock as EngineClock, core::Millis, core::Timestamp};
use unknot_hands::{Clock, Config, GuardCommand, Phase, Premises, Remote, RemoteSource, Summary, Worker};

/// Pause between two looks at what goes on.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long, once the worker is done, its last calls to the disk may take.
const LAST_CALLS: Duration = Duration::from_secs(1);
/// Kinds of work that it knows by itself.
const KINDS: [&str; 3] = ["exec", "http", "noop"];
/// Threads that move bytes and keep time.
const THREADS: usize = 2;

/// Works.
pub(crate) fn perform(asked: &Asked, out: &mut dyn Write) -> Result<Exit, Error> {
    let refused = |source: std::io::Error| Error::Start { attempt: "start the worker", source: source.into() };
    let told = listen_for_signals()?;
    let server = Server::find(&asked.at)?;
    let name = asked.name.clone().unwrap_or_else(this_machine);
    let folder = folder(asked, &name).map_err(refused)?;
    let premises = Premises::enter(&folder).map_err(refused)?;
    let queues = (!asked.queue.is_empty()).then(|| asked.queue.clone());
    writeln!(out, "worker  {name}: {} slots, {}", asked.slots, takes(asked))?;
    writeln!(out, "server  {}", server.place())?;
    say_what_was_left(&premises, out)?;
    out.flush()?;
    let source = RemoteSource::new(Remote {
        client: server.client().clone(),
        server: server.place(),
        name,
        boot: RandomState::new().build_hasher().finish(),
        slots: asked.slots,
        queues,
        kinds: if asked.handlers_only { Vec::new() } else { KINDS.map(str::to_owned).to_vec() },
        handlers: asked.handler.iter().map(|(name, _)| name.clone()).collect(),
        labels: asked.label.iter().cloned().collect(),
        data_dir: folder.clone(),
    });
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build().map_err(refused)?;
    let (phase, phases) = watch::channel(Phase::Working);
    let tended = Arc::clone(&source);
    let tending = runtime.spawn(async move { tended.tend().await });
    let worker = runtime.spawn(Worker::run(Arc::clone(&source), config(asked, folder), phases));
    let drain = Duration::from_millis(asked.drain.ms);
    let ended = At { source: &source, phase, worker: &worker, drain }.until_told(&told, out);
    let done = runtime.block_on(worker).map_err(std::io::Error::other).and_then(|ended| ended);
    tending.abort();
    runtime.block_on(source.leave());
    // A call that a disk holds up is left to its thread.
    runtime.shutdown_timeout(LAST_CALLS);
    done.map_err(|source| Error::Start { attempt: "work", source: source.into() })?;
    drop(premises);
    ended
}

/// What earlier processes had left in this worker's folder.
fn say_what_was_left(premises: &Premises, out: &mut dyn Write) -> Result<(), Error> {
    if premises.removed > 0 {
        writeln!(out, "cleared the folders of {} attempts of earlier processes", premises.removed)?;
    }
    for (folder, why) in &premises.kept {
        writeln!(out, "kept    {}: {why}", folder.display())?;
    }
    Ok(())
}

/// What it takes, for a person.
fn takes(asked: &Asked) -> String {
    let queues = if asked.queue.is_empty() { "all queues".to_owned() } else { asked.queue.join(", ") };
    if asked.handler.is_empty() {
        return queues;
    }
    let names: Vec<&str> = asked.handler.iter().map(|(name, _)| name.as_str()).collect();
    let only = if asked.handlers_only { "only calls of" } else { "also calls of" };
    format!("{queues}, {only} {}", names.join(", "))
}

fn config(asked: &Asked, folder: PathBuf) -> Config {
    let clock = EngineClock::starting_at_least(Timestamp::default());
    let now = move || {
        clock.follow_wall();
        clock.now().0
    };
    let guard = GuardCommand::this_program(vec![crate::GUARD_WORD.into()]);
    let mut config = Config::new(folder, guard, Clock::new(now));
    config.slots = asked.slots as usize;
    let handlers = asked.handler.iter().cloned().map(|(name, line)| (name, Command::Shell(line)));
    config.handlers = handlers.collect();
    config.prefetch = asked.slots as usize * 3;
    config
}

/// The folder of what attempts leave here.
fn folder(asked: &Asked, name: &str) -> std::io::Result<PathBuf> {
    let folder = asked.folder.clone().unwrap_or_else(|| Path::new(".unknot").join(format!("worker-{name}")));
    fs::create_dir_all(&folder)?;
    folder.canonicalize()
}

/// The machine's name, as a worker may be called.
fn this_machine() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || "-_.".contains(*letter);
    let name: String = name.trim().chars().filter(plain).take(100).collect();
    if name.is_empty() || name == "local" { "worker".to_owned() } else { name }
}

/// A worker at work.
struct At<'w> {
    source: &'w RemoteSource,
    phase: watch::Sender<Phase>,
    worker: &'w JoinHandle<std::io::Result<Summary>>,
    drain: Duration,
}

impl At<'_> {
    /// Waits until the process is to end, and then for what runs, within a bound. A second wish ends it at once.
    fn until_told(self, told: &Receiver<Wish>, out: &mut dyn Write) -> Result<Exit, Error> {
        let (mut sessions, refused) = (self.source.registered(), self.source.refused());
        while told.recv_timeout(LOOK_EVERY) != Ok(Wish::End) {
            if sessions.has_changed().unwrap_or_default() {
                let times = *sessions.borrow_and_update();
                writeln!(out, "{}", if times == 1 { "ready" } else { "ready   again, with what runs here" })?;
                out.flush()?;
            }
            if let Some(cause) = refused.borrow().clone() {
                self.phase.send_replace(Phase::Killing);
                return Err(Error::WorkerRefused { cause });
            }
            if self.worker.is_finished() {
                return Ok(Exit::Environment);
            }
        }
        let within = crate::time::length(Millis(self.drain.as_millis() as u64));
        writeln!(out, "ending  nothing new is taken; what runs has {within}, again to end it now")?;
        out.flush()?;
        self.phase.send_replace(Phase::Draining);
        let until = Instant::now() + self.drain;
        while Instant::now() < until && !self.worker.is_finished() {
            if told.recv_timeout(LOOK_EVERY) == Ok(Wish::End) {
                self.phase.send_replace(Phase::Killing);
                return Ok(Exit::Killed);
            }
        }
        self.phase.send_replace(Phase::Stopping);
        Ok(Exit::Success)
    }
}
