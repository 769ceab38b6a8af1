//! Performing an `exec` attempt: a command in processes of its own, watched from its start to its last process.
//!
//! - `supervise`: the one loop of an attempt: what it hears, its deadlines, the ladder.
//! - `drain`: its output into the log. `output`: what of that is the task's output.

mod drain;
mod output;
mod supervise;

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use unknot_api::work::{Assignment, Command, End, ExecWork, JsonText, LaunchFault, Outcome, Report, StopReason};

use self::drain::{Flow, Pipes};
use self::supervise::Supervisor;
use crate::artifacts::ARTIFACTS_FOLDER;
use crate::guard::link::Guards;
use crate::guard::wire::{LaunchFailure, Spawn};
use crate::lease::Lease;
use crate::log::Logs;
use crate::{Clock, backoff, identity};

/// How long a disk may take to make an attempt's folder, or to read its output.
pub(crate) const DISK_PATIENCE: Duration = Duration::from_secs(10);

/// How long an attempt waits for a guard that has to be started.
const GUARD_PATIENCE: Duration = Duration::from_secs(20);

/// How much earlier than an attempt's hard deadline whoever assigned it may begin to stop it, in milliseconds.
const DEADLINE_MARGIN_MS: u64 = 2_000;

/// The file that a task may write its output to, in its folder.
const OUTPUT_FILE: &str = "output.json";
/// The file with what a handler is given, in the folder of its call.
const INPUT_FILE: &str = "input.json";
/// The file that appears when a task is told to stop, in its folder.
const STOP_FILE: &str = "stop";

/// What is the same for all attempts of one worker.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) data_dir: PathBuf,
    pub(crate) guards: Guards,
    pub(crate) logs: Logs,
    pub(crate) clock: Clock,
    pub(crate) reports: mpsc::Sender<Report>,
    /// How many launches in a row failed for want of something on this machine.
    pub(crate) shortages: AtomicUsize,
}

/// What an attempt is told by its worker while it runs. Only ever raised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Wish {
    #[default]
    GoOn,
    /// Walk the ladder.
    Stop(StopReason),
    /// Take its last rung now.
    Kill(StopReason),
}

impl Wish {
    /// Why the attempt should not go on, if it should not.
    pub(crate) fn reason(self) -> Option<StopReason> {
        match self {
            Self::GoOn => None,
            Self::Stop(reason) | Self::Kill(reason) => Some(reason),
        }
    }

    /// Takes over a stronger wish; false if this one is as strong.
    pub(crate) fn raise(&mut self, wish: Self) -> bool {
        let rises = match (*self, wish) {
            (_, Self::GoOn) | (Self::Stop(_), Self::Stop(_)) | (Self::Kill(_), _) => false,
            (Self::GoOn, _) | (Self::Stop(_), Self::Kill(_)) => true,
        };
        if rises {
            *self = wish;
        }
        rises
    }
}

/// How an attempt hears of its worker.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) wishes: watch::Receiver<Wish>,
    /// Its lease, if that runs out.
    pub(crate) lease: Option<Lease>,
}

/// Performs one attempt to its very end; the end is returned, all else is reported on the way. With an input, it is
/// the call of a handler, which finds that in the file named by `UNKNOT_INPUT`.
pub(crate) async fn perform(
    bench: Arc<Bench>,
    assignment: Arc<Assignment>,
    work: ExecWork,
    input: Option<JsonText>,
    told: Told,
) -> End {
    let wishes = told.wishes.clone();
    if let Some(reason) = wishes.borrow().reason() {
        return End::new(Outcome::Stopped { reason }, bench.clock.now_ms());
    }
    let end = match launch(&bench, &assignment, work, input, told).await {
        Ok(supervisor) => supervisor.watch().await,
        Err(outcome) => End::new(outcome, bench.clock.now_ms()),
    };
    match end.outcome {
        Outcome::LaunchFailed { fault: LaunchFault::Shortage, .. } => hold_back(&bench, &assignment, wishes).await,
        _ => bench.shortages.store(0, Ordering::Relaxed),
    }
    end
}

/// Keeps the slot of an attempt that the machine had no room for, for a while: what comes next would find none either,
/// and a whole queue would pass by, each of its tasks tried for nothing.
async fn hold_back(bench: &Bench, assignment: &Assignment, mut wishes: watch::Receiver<Wish>) {
    let times = bench.shortages.fetch_add(1, Ordering::Relaxed);
    // Well before whoever assigned it runs out of patience: an attempt that was never started in time is a failure.
    let patience_ms = assignment.hard_deadline_ms_from_start.saturating_sub(DEADLINE_MARGIN_MS) / 2;
    let pause = backoff::pause(times + 1).min(Duration::from_millis(patience_ms));
    tokio::select! {
        () = sleep(pause) => {}
        _ = asked_to_stop(&mut wishes) => {}
    }
}

async fn launch(
    bench: &Arc<Bench>,
    assignment: &Arc<Assignment>,
    mut work: ExecWork,
    input: Option<JsonText>,
    Told { mut wishes, lease }: Told,
) -> Result<Supervisor, Outcome> {
    let folder = bench.data_dir.join(&assignment.folder);
    if input.is_some() {
        work.env.insert("UNKNOT_INPUT".to_owned(), folder.join(INPUT_FILE).display().to_string());
    }
    prepare(folder.clone(), input).await?;
    // Pipes before the guard: without descriptors there is nothing to ask it for.
    let (pipes, writers) = Pipes::new().map_err(|error| LaunchFailure::of("cannot make the output pipes", &error))?;
    let inodes = pipes.inodes();
    let link = tokio::select! {
        link = timeout(GUARD_PATIENCE, bench.guards.current()) => {
            link.unwrap_or_else(|_| Err(LaunchFailure::passing("no guard could be started in time".into())))?
        }
        reason = asked_to_stop(&mut wishes) => return Err(Outcome::Stopped { reason }),
    };
    let mark = bench.guards.next_mark();
    let log = bench.logs.open(folder.clone()).await;
    let limits = work.limits;
    let spawn = Spawn {
        mark,
        attempt: assignment.attempt.clone(),
        env: environment(assignment, &folder, work.env),
        argv: match work.command {
            Command::Argv(argv) => argv,
            Command::Shell(line) => vec!["/bin/sh".into(), "-c".into(), line],
        },
        folder: folder.clone(),
        cwd: work.cwd,
        limits,
        kill_at: lease.as_ref().map(Lease::kill_at),
    };
    // The last look before it runs: whatever took its time up to here, a stop that came meanwhile starts nothing.
    if let Some(reason) = wishes.borrow().reason() {
        return Err(Outcome::Stopped { reason });
    }
    let flow = Flow::new();
    let (exited, hears_exit) = watch::channel(false);
    let drain = tokio::spawn(drain::drain(pipes, log, flow.clone(), hears_exit));
    let events = link.spawn(spawn, writers).await?;
    let place = supervise::Place { folder, inodes, mark, link, limits };
    let senses = supervise::Senses { events, wishes, lease, drain, flow, exited };
    Ok(Supervisor::new(bench.clone(), assignment.clone(), place, senses))
}

/// Waits for a wish that the attempt should not go on; nobody who could have one is no such wish.
pub(crate) async fn asked_to_stop(wishes: &mut watch::Receiver<Wish>) -> StopReason {
    let reason = wishes.wait_for(|wish| wish.reason().is_some()).await.ok().and_then(|wish| wish.reason());
    match reason {
        Some(reason) => reason,
        None => std::future::pending().await,
    }
}

/// Makes the attempt's folder, with what it is given, as the first thing that may fail for want of a disk.
pub(crate) async fn prepare(folder: PathBuf, input: Option<JsonText>) -> Result<(), LaunchFailure> {
    let what = format!("cannot make the folder `{}`", folder.display());
    let make = move || -> io::Result<()> {
        fs::create_dir_all(folder.join(ARTIFACTS_FOLDER))?;
        // Left by an earlier try in the same folder, either would be taken for this one's.
        for file in [OUTPUT_FILE, STOP_FILE] {
            match fs::remove_file(folder.join(file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        input.map_or(Ok(()), |input| fs::write(folder.join(INPUT_FILE), input.as_str()))
    };
    match timeout(DISK_PATIENCE, spawn_blocking(make)).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(LaunchFailure::of(what, &error)),
        Ok(Err(error)) => Err(LaunchFailure::passing(format!("{what}: {error}"))),
        Err(_) => Err(LaunchFailure::passing(format!("{what}: the disk does not answer"))),
    }
}

/// The folders in which a task's commands are looked for, with that of this program behind them, so that scripts find
/// `unknot` wherever it was started from; nothing if it is there already, or this program has another name.
fn with_own_folder(path: Option<&str>) -> Option<String> {
    static OWN: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || env::current_exe().ok().filter(|program| program.file_name().is_some_and(|name| name == "unknot"));
    let own = OWN.get_or_init(|| find()?.parent().map(Path::to_path_buf)).as_ref()?;
    let path = path.map_or_else(|| env::var_os("PATH").unwrap_or_default(), OsString::from);
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    if folders.contains(own) {
        return None;
    }
    folders.push(own.clone());
    env::join_paths(folders).ok()?.into_string().ok()
}

/// The variables of a task: its work's, then its assignment's, then Unknot's own, which nobody overrides.
fn environment(assignment: &Assignment, folder: &Path, mut env: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let path = |name: &str| folder.join(name).display().to_string();
    env.extend(assignment.env.clone());
    if let Some(path) = with_own_folder(env.get("PATH").map(String::as_str)) {
        env.insert("PATH".to_owned(), path);
    }
    env.extend([
        (identity::COOKIE.to_owned(), assignment.attempt.clone()),
        ("UNKNOT_RUN".to_owned(), assignment.run.clone()),
        ("UNKNOT_TASK".to_owned(), assignment.task.clone()),
        ("UNKNOT_TRY".to_owned(), assignment.number.to_string()),
        ("UNKNOT_OUTPUT".to_owned(), path(OUTPUT_FILE)),
        ("UNKNOT_ARTIFACTS".to_owned(), path(ARTIFACTS_FOLDER)),
        ("UNKNOT_STOP".to_owned(), path(STOP_FILE)),
        ("UNKNOT_IDEMPOTENCY_KEY".to_owned(), assignment.idempotency_key.clone()),
    ]);
    env
}
