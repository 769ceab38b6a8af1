//! `unknot store`: backup, check, path, prune.

use crate::{
    args::StoreCommand,
    config::{Config, nicer},
    error::{Error, eprint_quietly},
    exit::Exit,
    looking::Looking,
    output::{count, thousands},
    terminal,
};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, IsTerminal, Write},
    ops::ControlFlow,
    panic,
    path::{Path, PathBuf},
};
use unknot_api::{Duration, Size};
use unknot_engine::{
    ATTEMPTS, Clock,
    core::{Millis, RunId, Timestamp, row::Loaded, settings::Bounds},
    driver::examined,
    remove_whole,
    store::{BackupProgress, BackupStep, Namespace, Owner, Retention, SqliteOptions, SqliteStore, Store},
};

/// Looks after a store.
pub(crate) fn perform(command: &StoreCommand, out: &mut dyn Write) -> Result<Exit, Error> {
    match command {
        StoreCommand::Backup { target, place } => backup(&Config::here(place)?, target, out),
        StoreCommand::Check { place } => check(&Config::here(place)?, out),
        StoreCommand::Path { place } => {
            writeln!(out, "{}", Config::here(place)?.data.display())?;
            Ok(Exit::Success)
        }
        StoreCommand::Prune { older_than, larger_than, place } => {
            let retention = Retention {
                keep: Millis(length(older_than)?.ms),
                bytes_max: size(larger_than)?.bytes,
                ..Retention::default()
            };
            prune(&Config::here(place)?, &retention, out)
        }
    }
}

fn backup(config: &Config, target: &Path, out: &mut dyn Write) -> Result<Exit, Error> {
    let mut gauge = Gauge::default();
    let done = SqliteStore::backup(&config.data, target, &mut |progress| gauge.show(progress));
    gauge.clear();
    done.map_err(Error::store(format!("back up the store `{}`", nicer(&config.data).display())))?;
    let bytes = fs::metadata(target).map(|file| file.len()).unwrap_or_default();
    writeln!(out, "{}: {} KiB, complete", target.display(), thousands(bytes / 1024))?;
    Ok(Exit::Success)
}

/// How far a backup is, on a terminal.
#[derive(Default)]
struct Gauge {
    percent: Option<u64>,
}

impl Gauge {
    fn show(&mut self, progress: BackupProgress) -> BackupStep {
        let percent = progress.pages_done * 100 / progress.pages_total.max(1);
        if io::stderr().is_terminal() && terminal::can_redraw() && self.percent != Some(percent) {
            self.percent = Some(percent);
            eprint_quietly(&format!("\r\x1b[Kbacking up: {percent} %"));
        }
        ControlFlow::Continue(())
    }

    fn clear(&self) {
        if self.percent.is_some() {
            eprint_quietly("\r\x1b[K");
        }
    }
}

fn check(config: &Config, out: &mut dyn Write) -> Result<Exit, Error> {
    let failed = || Error::store(format!("check the store `{}`", nicer(&config.data).display()));
    let mut report = SqliteStore::check(&config.data).map_err(failed())?;
    if report.is_sound() {
        let loaded = SqliteStore::peek(&config.data, &Namespace::default()).map_err(failed())?;
        report.problems.extend(broken_rule(loaded));
    }
    if !report.is_sound() {
        return Err(Error::Unsound { problems: report.problems });
    }
    writeln!(out, "sound: {}", count(report.rows, "row"))?;
    Ok(Exit::Success)
}

/// The first rule of the brain that the rows of its unfinished runs break: it would refuse to start with them.
fn broken_rule(loaded: Loaded) -> Option<String> {
    // It is told below, once, and without a place in our sources.
    let told = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let examined = examined(loaded, Bounds::default());
    panic::set_hook(told);
    examined.err().map(|error| error.to_string())
}

fn prune(config: &Config, retention: &Retention, out: &mut dyn Write) -> Result<Exit, Error> {
    // Opening for writing makes a store where there is none.
    drop(Looking::open(config)?);
    let failed = || Error::store(format!("make room in the store `{}`", nicer(&config.data).display()));
    let mut store = SqliteStore::open(&config.data, &SqliteOptions::default()).map_err(failed())?;
    let namespace = Namespace::default();
    let owner = Owner(format!("pid {} (prune)", std::process::id()));
    let epoch = store.acquire(&namespace, &owner).map_err(failed())?;
    let mut upkeep = store.maintenance().map_err(failed())?;
    let now = Clock::starting_at_least(Timestamp::default()).now();
    let (mut runs, mut rows) = (0, 0);
    let mut stuck: BTreeMap<RunId, io::Error> = BTreeMap::new();
    loop {
        let done = upkeep.maintain(&namespace, epoch, now, retention).map_err(failed())?;
        runs += done.runs_pruned as u64;
        rows += done.rows_pruned as u64;
        // The journal of folders is struck off only for what is gone; the rest is named again, in turn.
        let mut gone = Vec::new();
        for run in done.folders.0 {
            if stuck.contains_key(&run) {
                continue;
            }
            match remove_whole(&folder(config, run)) {
                Ok(()) => gone.push(run),
                Err(error) => drop(stuck.insert(run, error)),
            }
        }
        upkeep.folders_removed(&namespace, epoch, &gone).map_err(failed())?;
        if !done.more && gone.is_empty() {
            break;
        }
    }
    writeln!(out, "{} removed, {}", count(runs, "run"), count(rows, "row"))?;
    if let Some((run, error)) = stuck.first_key_value() {
        let folders = count(stuck.len() as u64, "folder");
        let first = nicer(&folder(config, *run)).display().to_string();
        eprint_quietly(&format!("note: {folders} could not be removed and is tried again later; `{first}`: {error}\n"));
    }
    Ok(Exit::Success)
}

fn folder(config: &Config, run: RunId) -> PathBuf {
    config.data.join(ATTEMPTS).join(run.to_string())
}

fn length(given: &str) -> Result<Duration, Error> {
    let what = "length of time such as `12h` or `7d`";
    Duration::parse(given).ok_or_else(|| Error::Value { given: given.to_owned(), what })
}

fn size(given: &str) -> Result<Size, Error> {
    Size::parse(given).ok_or_else(|| Error::Value { given: given.to_owned(), what: "size such as `500MiB` or `2GiB`" })
}
