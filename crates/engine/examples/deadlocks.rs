//! Measures a deadlock from outside: from the wait that closes it to the victim's being told, after the verdict is durable.
//!
//! Two attempts of a remote worker take two locks in opposite order, again and again; the store is SQLite with
//! `synchronous=FULL`. `cargo xtask bench deadlocks` builds and runs it; its output is one measurement a line, as JSON.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock from outside")]

use serde_json::json;
use std::{
    error::Error,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{runtime::Builder, time::timeout};
use unknot_api::work::{Assignment, End, Outcome as Ended, Report, ReportBody, StopReason};
use unknot_engine::{
    Engine, Options, Registration, Submit,
    core::{
        AttemptId, Fence,
        event::{Ask, Event},
        run::{AtDeadline, Awaited, WorkerId},
        settings::Settings,
        worker::Serves,
        workflow::{Definition, Stored},
    },
    store::{Namespace, Retention, SqliteOptions, SqliteStore},
};
use unknot_hands::{GuardCommand, worker::Order};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The worker's name.
const WORKER: &str = "bench";
/// Longest silence before the measurement is given up.
const SILENCE: Duration = Duration::from_secs(60);

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let scratch = PathBuf::from(args.next().ok_or("usage: deadlocks SCRATCH_FOLDER [ROUNDS]")?);
    let rounds: usize = args.next().map_or(Ok(1_000), |rounds| rounds.parse())?;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut taken = runtime.block_on(measure(scratch, rounds))?;
    taken.sort();
    let ms = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    let with = json!({"p99_ms": ms(0.99), "max_ms": ms(1.0), "rounds": taken.len()});
    let what = "deadlock: closing wait to victim told";
    println!("{}", json!({"what": what, "unit": "p50_ms", "value": ms(0.5), "with": with}));
    Ok(())
}

async fn measure(data: PathBuf, rounds: usize) -> Outcome<Vec<Duration>> {
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    std::fs::create_dir_all(&data)?;
    let store = SqliteStore::open(&data, &SqliteOptions::default())?;
    let options = Options {
        data,
        namespace: Namespace::default(),
        slots: 0,
        settings: Settings::default(),
        guard: GuardCommand { program: "true".into(), args: Vec::new() },
        retention: Retention::default(),
        alerts: Default::default(),
        focus: None,
        door: None,
    };
    let engine = Arc::new(Engine::start(Box::new(store), options)?);
    let session = engine.register_worker(&Registration {
        worker: WorkerId { name: WORKER.into(), boot: 1 },
        slots: 4,
        serves: Serves::default(),
        labels: Arc::default(),
        term: SILENCE,
        poll: Duration::from_secs(5),
    })?;
    let mut bench = Bench { engine, session, received: 0 };
    let definition = definition()?;
    let mut taken = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        taken.push(timeout(SILENCE, bench.round(&definition)).await??);
    }
    Ok(taken)
}

struct Bench {
    engine: Arc<Engine>,
    session: String,
    received: u64,
}

impl Bench {
    /// One deadlock and its end; gives how long the victim took to be told.
    async fn round(&mut self, definition: &Arc<Definition>) -> Outcome<Duration> {
        for _ in 0..2 {
            self.engine.submit_with(submission(definition), Default::default()).await?;
        }
        let (one, other) = (self.claim().await?, self.claim().await?);
        self.lock(&one, "a", "gpu").await?;
        self.lock(&other, "a", "disk").await?;
        let (engine, waiting) = (Arc::clone(&self.engine), one.clone());
        let waits = tokio::spawn(async move { ask(&engine, &waiting, "b", "disk").await.is_ok() });
        // The first wait stands before the other one closes the ring.
        while self.engine.peek(SILENCE, |driver| driver.state().volatile.asking.is_empty()).await.unwrap_or(true) {}
        let (engine, closing) = (Arc::clone(&self.engine), other.clone());
        let start = Instant::now();
        let closes = tokio::spawn(async move { ask(&engine, &closing, "b", "gpu").await.is_ok() });
        let victim = loop {
            let orders = self.engine.orders(WORKER, &self.session).await?;
            let stop = orders.into_iter().find_map(|order| match order {
                Order::Stop { attempt, reason: StopReason::Deadlock, .. } => Some(attempt),
                _ => None,
            });
            if let Some(attempt) = stop {
                break attempt;
            }
        };
        let told = start.elapsed();
        let (victim, winner) = if victim == one.attempt { (one, other) } else { (other, one) };
        self.end(&victim, Ended::Stopped { reason: StopReason::Deadlock }).await?;
        let granted = [waits.await?, closes.await?];
        if granted.iter().filter(|granted| **granted).count() != 1 {
            return Err(format!("one of both goes on, not {granted:?}").into());
        }
        self.end(&winner, done()).await?;
        let again = self.claim().await?;
        self.end(&again, done()).await?;
        Ok(told)
    }

    async fn claim(&mut self) -> Outcome<Assignment> {
        loop {
            let claimed = self.engine.claim(WORKER, &self.session, self.received, 1).await?;
            self.received = claimed.number;
            if let Some(assignment) = claimed.assignments.into_iter().next() {
                return Ok(assignment);
            }
        }
    }

    async fn lock(&self, assignment: &Assignment, name: &str, lock: &str) -> Outcome<()> {
        ask(&self.engine, assignment, name, lock).await
    }

    async fn end(&self, assignment: &Assignment, outcome: Ended) -> Outcome<()> {
        let body = ReportBody::Ended(Box::new(End::new(outcome, 0)));
        let report = Report { attempt: assignment.attempt.clone(), fence: assignment.fence, body };
        self.engine.report(WORKER, &self.session, &[report]).await?;
        Ok(())
    }
}

async fn ask(engine: &Engine, assignment: &Assignment, name: &str, lock: &str) -> Outcome<()> {
    let attempt: AttemptId = assignment.attempt.parse()?;
    let on = Awaited::Units { pool: lock.to_owned(), units: 1 };
    let ask = Ask::Wait { name: name.to_owned(), on, within: None, then: AtDeadline::GiveUp };
    let fence = Fence(assignment.fence);
    engine.command(|caller| Event::AttemptAsked { attempt, fence, ask: Box::new(ask), caller }).await?;
    Ok(())
}

fn done() -> Ended {
    Ended::Succeeded { output: unknot_api::work::JsonText::null() }
}

fn definition() -> Outcome<Arc<Definition>> {
    let tasks = json!([{"name": "t", "kind": {"exec": ["true"]}}]);
    let stored: Stored =
        serde_json::from_value(json!({"hash": "locks", "name": "locks", "timeout": 86_400_000, "tasks": tasks}))?;
    Ok(Arc::new(Definition::new(stored)))
}

fn submission(definition: &Arc<Definition>) -> Submit {
    Submit::of(Arc::clone(definition))
}
