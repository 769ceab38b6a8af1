//! Measures an embedded engine from outside: throughput, latency, spawns, memory and recovery.
//!
//! `cargo xtask bench` builds and runs it, the part `memory` in a process of its own; each line of its output is one measurement as JSON. Every
//! figure is of the SQLite store with `synchronous=FULL`, the real driver and the real worker loop.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock from outside")]

use serde_json::{Value, json};
use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use unknot_engine::{
    Engine, Heard, Options, Submit, Subscription,
    core::{
        event::PauseTarget,
        row::HistoryKind,
        settings::Settings,
        workflow::{Definition, DefinitionHash, Stored},
    },
    store::{Namespace, Retention, SqliteOptions, SqliteStore},
};
use unknot_hands::GuardCommand;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Submissions under way at once.
const WINDOW: usize = 256;
/// Longest silence before a measurement is given up.
const SILENCE: Duration = Duration::from_secs(60);

struct Bench {
    guard: PathBuf,
    scratch: PathBuf,
    tasks: usize,
}

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let guard = PathBuf::from(args.next().ok_or("usage: bench UNKNOT_BINARY SCRATCH_FOLDER [TASKS [PART]]")?);
    let scratch = PathBuf::from(args.next().ok_or("a scratch folder on the disk to measure is needed")?);
    let tasks = args.next().map_or(Ok(20_000), |tasks| tasks.parse())?;
    let part = args.next();
    let bench = Bench { guard, scratch, tasks };
    match part.as_deref() {
        None => {
            bench.throughputs()?;
            bench.latency()?;
            bench.spawns()
        }
        Some("throughput") => bench.throughputs(),
        Some("memory") => bench.pending_and_recovery(),
        Some(other) => Err(format!("no part `{other}`: `throughput`, `memory`, or none for all but memory").into()),
    }
}

impl Bench {
    fn throughputs(&self) -> Outcome<()> {
        for slots in [16, 64] {
            self.throughput("no-op tasks", &chain(1), slots, self.tasks)?;
            self.throughput("3-task workflows", &chain(3), slots, self.tasks / 3)?;
        }
        Ok(())
    }

    /// Runs per second: submitted while they run, and submitted beforehand.
    fn throughput(&self, what: &str, definition: &Arc<Definition>, slots: u32, runs: usize) -> Outcome<()> {
        let (engine, heard) = self.engine("throughput", slots)?;
        submit_all(&engine, definition, runs / 10)?;
        await_completed(&heard, runs / 10)?;
        let start = Instant::now();
        submit_all(&engine, definition, runs)?;
        await_completed(&heard, runs)?;
        say(what, "runs_per_s", rate(runs, start), json!({"slots": slots, "runs": runs, "shape": "with submission"}));

        let queue = PauseTarget::Queue("default".to_owned());
        engine.pause(queue.clone(), "bench")?;
        let start = Instant::now();
        submit_all(&engine, definition, runs)?;
        say("submissions", "runs_per_s", rate(runs, start), json!({"runs": runs, "window": WINDOW}));
        let start = Instant::now();
        engine.resume(queue, "bench")?;
        await_completed(&heard, runs)?;
        say(what, "runs_per_s", rate(runs, start), json!({"slots": slots, "runs": runs, "shape": "burn-down"}));
        engine.stop();
        Ok(())
    }

    /// From the submission of one task to its durable completion, nothing else going on.
    fn latency(&self) -> Outcome<()> {
        let (engine, heard) = self.engine("latency", 16)?;
        let definition = chain(1);
        let mut taken = Vec::new();
        for _ in 0..1_000 {
            let start = Instant::now();
            engine.submit(submission(&definition))?;
            await_completed(&heard, 1)?;
            taken.push(start.elapsed());
        }
        engine.stop();
        taken.sort();
        let ms = |place: usize| taken[place].as_secs_f64() * 1_000.0;
        say("one task, idle", "p50_ms", ms(500), json!({"p99_ms": ms(990), "runs": taken.len()}));
        Ok(())
    }

    /// Real processes per second: `exec: ["true"]`, each a run.
    fn spawns(&self) -> Outcome<()> {
        let (engine, heard) = self.engine("spawns", 16)?;
        let runs = 2_000;
        let definition = definition("spawn", &json!([{"name": "t", "kind": {"exec": ["true"]}}]));
        let start = Instant::now();
        submit_all(&engine, &definition, runs)?;
        await_completed(&heard, runs)?;
        say("process spawns", "per_s", rate(runs, start), json!({"slots": 16, "runs": runs}));
        engine.stop();
        Ok(())
    }

    /// Memory with 100,000 pending tasks, and how long a start takes with them.
    fn pending_and_recovery(&self) -> Outcome<()> {
        let pending = 100_000;
        let (engine, _) = self.engine("pending", 0)?;
        let before = resident_bytes()?;
        submit_all(&engine, &chain(1), pending)?;
        let grown = resident_bytes()?.saturating_sub(before);
        say("memory, idle", "mib", before as f64 / f64::from(1 << 20), json!({}));
        say("memory a pending task", "bytes", grown as f64 / pending as f64, json!({"pending": pending}));
        engine.stop();
        let start = Instant::now();
        let (engine, _) = self.open("pending", 0)?;
        say("recovery", "s", start.elapsed().as_secs_f64(), json!({"unfinished": pending}));
        engine.stop();
        Ok(())
    }

    fn engine(&self, name: &str, slots: u32) -> Outcome<(Engine, Subscription)> {
        let data = self.scratch.join(name);
        if data.exists() {
            std::fs::remove_dir_all(&data)?;
        }
        self.open(name, slots)
    }

    fn open(&self, name: &str, slots: u32) -> Outcome<(Engine, Subscription)> {
        let data = self.scratch.join(name);
        std::fs::create_dir_all(&data)?;
        let store = SqliteStore::open(&data, &SqliteOptions::default())?;
        let options = Options {
            data,
            namespace: Namespace::default(),
            slots,
            settings: Settings::default(),
            guard: GuardCommand { program: self.guard.clone(), args: vec!["__guard".into()] },
            retention: Retention::default(),
            alerts: Default::default(),
            focus: None,
            door: None,
        };
        let engine = Engine::start(Box::new(store), options)?;
        let heard = engine.subscribe();
        Ok((engine, heard))
    }
}

fn say(what: &str, unit: &str, value: f64, with: Value) {
    println!("{}", json!({"what": what, "unit": unit, "value": value, "with": with}));
}

fn rate(runs: usize, start: Instant) -> f64 {
    runs as f64 / start.elapsed().as_secs_f64()
}

/// A workflow of `length` no-op tasks, each needing the one before.
fn chain(length: u32) -> Arc<Definition> {
    let task = |index: u32| {
        let needs = if index == 0 { json!([]) } else { json!([{"task": index - 1, "until": "succeeded"}]) };
        let at_least = u32::from(index > 0);
        json!({"name": format!("t{index}"), "kind": "noop", "needs": {"at_least": at_least, "of": needs}})
    };
    definition("chain", &(0..length).map(task).collect())
}

fn definition(name: &str, tasks: &Value) -> Arc<Definition> {
    let text = json!({"hash": format!("{name}-{}", tasks.as_array().map_or(0, Vec::len)), "name": name, "timeout": 86_400_000, "tasks": tasks});
    let stored: Stored = serde_json::from_value(text).expect("the bench's own definition is whole");
    assert!(matches!(&stored.hash, DefinitionHash(hash) if !hash.is_empty()));
    Arc::new(Definition::new(stored))
}

fn submission(definition: &Arc<Definition>) -> Submit {
    Submit::of(Arc::clone(definition))
}

/// Submits from one thread, up to [`WINDOW`] under way at once, each acknowledged after its commit.
fn submit_all(engine: &Engine, definition: &Arc<Definition>, runs: usize) -> Outcome<()> {
    let mut under_way = std::collections::VecDeque::with_capacity(WINDOW);
    for _ in 0..runs {
        if under_way.len() == WINDOW
            && let Some(oldest) = under_way.pop_front()
        {
            unknot_engine::Submitted::wait(oldest)?;
        }
        under_way.push_back(engine.submit_ahead(submission(definition))?);
    }
    for rest in under_way {
        rest.wait()?;
    }
    Ok(())
}

/// Waits until so many runs have completed, durably.
fn await_completed(heard: &Subscription, mut runs: usize) -> Outcome<()> {
    while runs > 0 {
        match heard.next(SILENCE) {
            Heard::Lines(lines) => {
                let ended = lines.entries.iter().filter(|entry| entry.event == HistoryKind::RunCompleted).count();
                runs = runs.saturating_sub(ended);
            }
            Heard::Nothing => return Err(format!("nothing happened for {SILENCE:?}, {runs} runs are left").into()),
            Heard::CutOff => return Err("the bench was too slow for the stream".into()),
        }
    }
    Ok(())
}

fn resident_bytes() -> Outcome<u64> {
    let status = std::fs::read_to_string(Path::new("/proc/self/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("no figure")?.parse()?;
    Ok(kib * 1024)
}
