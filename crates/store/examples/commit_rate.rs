//! How many single-task runs a second go through `commit`, synced, by batch size.
//!
//! `cargo run --release -p unknot-store --example commit_rate [FOLDER]` measures on the disk of FOLDER
//! (the current one if none is given) and prints three tables: what a bare sync costs there, what
//! row operations cost in bare SQLite, and what the store does. Pin it to a core with `taskset`.

#![expect(clippy::disallowed_methods, reason = "the upkeep runs beside the writer here as it does in the engine")]

use rusqlite::{Connection, params};
use std::{
    env, fs,
    io::{self, Seek, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use unknot_core::{
    row::{HistoryEntry, HistoryKind},
    run::{Run, RunStatus},
    workflow::Definition,
};
use unknot_store::{
    Retention, SqliteOptions, SqliteStore, Store,
    conformance::fixture::{self, Brain},
};

const BATCHES: [usize; 5] = [1, 16, 64, 256, 1_024];
/// Single-task runs per measurement.
const RUNS: usize = 40_000;
/// Pause between two slices of upkeep.
const UPKEEP_PAUSE: Duration = Duration::from_millis(5);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = env::args_os().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let folder = tempfile::tempdir_in(folder)?;
    syncs(folder.path())?;
    layouts(folder.path())?;
    store(folder.path())?;
    recovery(folder.path())
}

/// Runs of one measurement: fewer where each commit carries little.
fn runs_for(batch: usize) -> usize {
    RUNS.min(batch * 2_000)
}

fn syncs(folder: &Path) -> io::Result<()> {
    println!("write and fdatasync, milliseconds (p50 / p99)\n\n| bytes | at the end | in place |\n|---|---|---|");
    for bytes in [4 << 10, 64 << 10, 256 << 10] {
        let path = folder.join("sync");
        let mut file = fs::File::create(&path)?;
        let block = vec![7u8; bytes];
        let mut cells = Vec::new();
        for _ in ["at the end", "in place"] {
            file.rewind()?;
            let mut times: Vec<Duration> = Vec::new();
            for _ in 0..300 {
                let begin = Instant::now();
                file.write_all(&block)?;
                file.sync_data()?;
                times.push(begin.elapsed());
            }
            times.sort_unstable();
            let ms = |time: Duration| time.as_secs_f64() * 1e3;
            cells.push(format!("{:.3} / {:.3}", ms(times[150]), ms(times[297])));
        }
        println!("| {bytes} | {} |", cells.join(" | "));
        fs::remove_file(path)?;
    }
    println!();
    Ok(())
}

/// Bare SQLite with rows of the store's size: how much each row operation costs.
fn layouts(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "bare SQLite, single-task runs/s\n\n| rows per task | {} |",
        BATCHES.map(|b| format!("batch {b}")).join(" | ")
    );
    println!("|---|{}", "---|".repeat(BATCHES.len()));
    for (name, packed) in [("4, history packed per batch", true), ("8, a row for everything", false)] {
        let mut cells = Vec::new();
        for batch in BATCHES {
            cells.push(format!("{:.0}", bare(folder, batch, packed)?));
        }
        println!("| {name} | {} |", cells.join(" | "));
    }
    println!();
    Ok(())
}

fn bare(folder: &Path, batch: usize, packed: bool) -> Result<f64, Box<dyn std::error::Error>> {
    let path = folder.join("bare.db");
    let connection = Connection::open(&path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4096;
         CREATE TABLE run (id TEXT PRIMARY KEY, body TEXT) STRICT, WITHOUT ROWID;
         CREATE TABLE task (id TEXT PRIMARY KEY, body TEXT) STRICT, WITHOUT ROWID;
         CREATE TABLE finished (id TEXT PRIMARY KEY, body TEXT) STRICT, WITHOUT ROWID;
         CREATE TABLE finished_task (id TEXT PRIMARY KEY, body TEXT) STRICT, WITHOUT ROWID;
         CREATE TABLE history (id INTEGER PRIMARY KEY, body TEXT) STRICT;",
    )?;
    let (whole, half, line) = ("x".repeat(700), "x".repeat(350), "x".repeat(130));
    let put = |table: &str, id: &str, body: &str| {
        connection.prepare_cached(&format!("INSERT INTO {table} VALUES (?1, ?2)"))?.execute(params![id, body])
    };
    let remove =
        |table: &str, id: &str| connection.prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1"))?.execute([id]);
    let record = |lines: usize| {
        let body = line.repeat(lines);
        connection.prepare_cached("INSERT INTO history (body) VALUES (?1)")?.execute([body])
    };
    let id = |run: usize| fixture::run_id(run as u64).to_string();
    let batches = runs_for(batch) / batch;
    let begin = Instant::now();
    for number in 0..batches {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        for run in number * batch..(number + 1) * batch {
            if packed {
                put("run", &id(run), &whole)?;
            } else {
                put("run", &id(run), &half)?;
                put("task", &id(run), &half)?;
                record(2)?;
            }
            let Some(before) = run.checked_sub(batch) else { continue };
            remove("run", &id(before))?;
            if packed {
                put("finished", &id(before), &whole)?;
            } else {
                remove("task", &id(before))?;
                put("finished", &id(before), &half)?;
                put("finished_task", &id(before), &half)?;
                record(2)?;
            }
        }
        if packed {
            record(4 * batch)?;
        }
        connection.prepare_cached("COMMIT")?.execute([])?;
    }
    let rate = (batches * batch) as f64 / begin.elapsed().as_secs_f64();
    drop(connection);
    fs::remove_file(path)?;
    Ok(rate)
}

fn store(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    println!("the store: each batch submits and leases so many single-task runs and ends those of the batch before\n");
    println!("| batch | runs/s | commit p50 ms | p99 ms | max ms | bytes per run |\n|---|---|---|---|---|---|");
    for batch in BATCHES {
        let data = folder.join(format!("store-{batch}"));
        let store = SqliteStore::open(&data, &SqliteOptions::default())?;
        let mut times = measure(store, batch)?;
        let bytes: u64 = fs::read_dir(&data)?.map(|file| Ok(file?.metadata()?.len())).sum::<io::Result<u64>>()?;
        let spent: Duration = times.iter().sum();
        times.sort_unstable();
        let ms = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
        let rate = (times.len() * batch) as f64 / spent.as_secs_f64();
        let per_run = bytes / (times.len() * batch) as u64;
        println!("| {batch} | {rate:.0} | {:.2} | {:.2} | {:.1} | {per_run} |", ms(0.5), ms(0.99), ms(1.0));
    }
    println!();
    Ok(())
}

/// The time of each commit, with the upkeep running beside as it does in a server.
fn measure(store: SqliteStore, batch: usize) -> Result<Vec<Duration>, Box<dyn std::error::Error>> {
    let mut upkeep = store.maintenance()?;
    let mut brain = Brain::start(Box::new(store));
    let (namespace, epoch) = (brain.namespace.clone(), brain.epoch);
    let is_over = Arc::new(AtomicBool::new(false));
    let watched = Arc::clone(&is_over);
    let beside = thread::spawn(move || {
        while !watched.load(Ordering::Relaxed) {
            upkeep.maintain(&namespace, epoch, fixture::START, &Retention::default()).expect("upkeep");
            thread::sleep(UPKEEP_PAUSE);
        }
    });
    let flow = fixture::definition("flow", 1);
    let model = fixture::run(fixture::run_id(0), &flow, brain.next());
    brain.commit(vec![fixture::put_definition(&flow)]);
    let mut live: Vec<Run> = Vec::new();
    let mut times = Vec::new();
    for number in 0..runs_for(batch) / batch {
        let ids = number * batch + 1..=(number + 1) * batch;
        let new: Vec<Run> = ids.map(|id| submitted(&model, id as u64, &brain)).collect();
        let mut changes: Vec<_> = new.iter().map(fixture::put_run).collect();
        let mut history: Vec<HistoryEntry> = Vec::new();
        for run in &new {
            history.extend([HistoryKind::RunSubmitted, HistoryKind::TaskGranted].map(|kind| fixture::entry(run, kind)));
        }
        for run in &live {
            changes.extend(fixture::end_run(&fixture::finished(run, RunStatus::Completed, brain.next())));
            history
                .extend([HistoryKind::TaskCompleted, HistoryKind::RunCompleted].map(|kind| fixture::entry(run, kind)));
        }
        let whole = brain.batch(changes, history);
        let begin = Instant::now();
        brain.try_commit(&whole)?;
        times.push(begin.elapsed());
        live = new;
    }
    is_over.store(true, Ordering::Relaxed);
    beside.join().map_err(|_| "the upkeep failed")?;
    Ok(times)
}

fn submitted(model: &Run, id: u64, brain: &Brain) -> Run {
    let id = fixture::run_id(id);
    Run { id, first_commit: brain.next(), submitted_at: fixture::submitted_at(id), ..model.clone() }
}

/// How long a load of unfinished runs takes.
fn recovery(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut brain = Brain::start(Box::new(SqliteStore::open(&folder.join("recovery"), &SqliteOptions::default())?));
    let flow: Arc<Definition> = fixture::definition("flow", 1);
    let model = fixture::run(fixture::run_id(0), &flow, brain.next());
    brain.commit(vec![fixture::put_definition(&flow)]);
    for thousand in 0..100 {
        let ids = thousand * 1_000 + 1..=(thousand + 1) * 1_000;
        brain.commit(ids.map(|id| fixture::put_run(&submitted(&model, id, &brain))).collect());
    }
    drop(brain);
    let begin = Instant::now();
    let mut brain = Brain::start(Box::new(SqliteStore::open(&folder.join("recovery"), &SqliteOptions::default())?));
    let opened = begin.elapsed();
    let rows = brain.load().rows.len();
    println!("recovery: {rows} rows loaded in {:?}, {opened:?} of it to open the store", begin.elapsed());
    Ok(())
}
