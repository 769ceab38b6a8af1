//! Loads a server over HTTP and says how it answers meanwhile: `cargo xtask load` builds and runs it.
//!
//! The server is a process of its own (`unknot serve`, SQLite with `synchronous=FULL`); the client below shares the
//! machine with it, and with the processes of the tasks, so figures are those of a machine that is really busy.

#![expect(clippy::disallowed_methods, reason = "a load test starts a server and reads the clock from outside")]

mod outside;

use outside::{HANDLER, Outside};
use serde_json::{Map, Value, json};
use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use unknot_api::{
    client::{Client, Told},
    rest::{CancelRequest, RunRequest, WorkflowChoice},
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Runs submitted at once, and their tasks.
const RUNS: usize = 500;
const TASKS: usize = 20;
/// Questions of a kind while nothing else goes on.
const QUESTIONS: usize = 300;
/// Runs that are cancelled meanwhile.
const TO_CANCEL: usize = 1_500;
/// Runs whose tasks are calls of a worker of another process, and their tasks.
const CALLING: usize = 1_000;
const CALLS: usize = 20;
/// How many of them that worker has at once.
const SLOTS: [u32; 2] = [64, 1_000];
/// Listeners to one run.
const LISTENERS: usize = 1_000;
/// Pause between two questions of one kind: a person or a monitor does not ask more often.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest that one part may take.
const PART_MAX: Duration = Duration::from_secs(120);
/// What operators are promised while the server is under load.
const GOAL_P99_MS: f64 = 20.0;

fn main() -> Outcome<()> {
    let mut words = std::env::args().skip(1);
    let unknot = PathBuf::from(words.next().ok_or("usage: load UNKNOT_BINARY SCRATCH_FOLDER [--json]")?);
    let scratch = PathBuf::from(words.next().ok_or("a scratch folder on the disk to measure is needed")?);
    let as_json = words.next().is_some_and(|word| word == "--json");
    let server = Server::start(&unknot, &scratch)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut figures = Figures::default();
    runtime.block_on(measure(&server, &mut figures))?;
    drop(server);
    fs::remove_dir_all(&scratch)?;
    if as_json {
        println!("{:#}", figures.as_json())
    } else {
        print!("{}", figures.table())
    }
    match figures.missed() {
        missed if missed.is_empty() => Ok(()),
        missed => Err(format!("p99 over {GOAL_P99_MS} ms: {}", missed.join(", ")).into()),
    }
}

async fn measure(server: &Server, figures: &mut Figures) -> Outcome<()> {
    let client = Client::new(server.address.parse()?, None)?;
    figures.amount("memory, empty", server.memory_mib()?, "MiB");
    let doomed = submit_all(&client, TO_CANCEL + QUESTIONS, &sleeping()).await?;
    let (before, during) = doomed.split_at(QUESTIONS);
    idle(&client, before, figures).await?;
    figures.amount("memory, 1,800 sleeping runs", server.memory_mib()?, "MiB");
    saturated(&client, during, figures).await?;
    figures.amount("memory, after the load", server.memory_mib()?, "MiB");
    elsewhere(&client, figures).await?;
    listened(&client, figures).await?;
    figures.amount("memory, 1,000 listeners later", server.memory_mib()?, "MiB");
    Ok(())
}

/// What each question takes while nothing else goes on.
async fn idle(client: &Client, runs: &[String], figures: &mut Figures) -> Outcome<()> {
    let mut taken = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for run in runs {
        taken[0].push(timed(client.health()).await?);
        taken[1].push(timed(client.run(run)).await?);
        taken[2].push(timed(client.runs(&Default::default())).await?);
        taken[3].push(timed(client.cancel(run, &CancelRequest::default())).await?);
    }
    for (what, taken) in ["GET /health", "GET /runs/{id}", "GET /runs", "PUT …/cancel"].into_iter().zip(taken) {
        figures.times(&format!("idle: {what}"), taken);
    }
    Ok(())
}

/// All runs at once, and the questions of operators until the last of their tasks has ended.
async fn saturated(client: &Client, to_cancel: &[String], figures: &mut Figures) -> Outcome<()> {
    let over = Arc::new(AtomicBool::new(false));
    let asking = |kind: Kind| tokio::spawn(ask(client.clone(), kind, Arc::clone(&over)));
    let probe = to_cancel.first().cloned().unwrap_or_default();
    let probes = [
        ("GET /health", asking(Kind::Health)),
        ("PUT …/cancel", asking(Kind::Cancel(to_cancel[1..].to_vec()))),
        ("GET /runs/{id}", asking(Kind::Run(probe))),
        ("GET /runs", asking(Kind::Runs)),
    ];
    let begun = Instant::now();
    let runs = submit_all(client, RUNS, &busy()).await?;
    figures.amount("submissions, all at once", runs.len() as f64 / begun.elapsed().as_secs_f64(), "runs/s");
    emptied(client, "default", begun).await?;
    figures.amount("tasks done meanwhile", (RUNS * TASKS) as f64 / begun.elapsed().as_secs_f64(), "tasks/s");
    over.store(true, Ordering::Relaxed);
    for (what, probe) in probes {
        figures.times(&format!("saturated: {what}"), probe.await??);
    }
    Ok(())
}

/// Waits until nothing stands in a queue any more.
async fn emptied(client: &Client, queue: &str, begun: Instant) -> Outcome<()> {
    while client.stats().await?.queues.get(queue).is_some_and(|queue| queue.size > 0) {
        if begun.elapsed() > PART_MAX {
            return Err(format!("queue `{queue}` is not empty in time").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Work for a worker of another process: how much of it gets done, and how long one call takes when nothing else goes
/// on.
async fn elsewhere(client: &Client, figures: &mut Figures) -> Outcome<()> {
    for slots in SLOTS {
        let others = client.stats().await?.unfinished_tasks;
        submit_all(client, CALLING, &calling(CALLS)).await?;
        let begun = Instant::now();
        let worker = Outside::start(client, "outside", slots).await?;
        while client.stats().await?.unfinished_tasks > others {
            if begun.elapsed() > PART_MAX {
                return Err("the calls are not done in time".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let rate = (CALLING * CALLS) as f64 / begun.elapsed().as_secs_f64();
        figures.amount(&format!("calls of a worker elsewhere, {slots} at once, burn-down"), rate, "tasks/s");
        if !worker.is_working() {
            return Err("the worker has ended".into());
        }
        let mut taken = Vec::new();
        for _ in 0..QUESTIONS {
            let request = RunRequest::of(WorkflowChoice::Inline(calling(1)));
            taken.push(timed(client.submit(&request, None, Some(PART_MAX / 4))).await?);
        }
        figures.times(&format!("idle: a run of one call, {slots} at once, to its end"), taken);
    }
    Ok(())
}

/// What one prober asks again and again.
enum Kind {
    Health,
    Cancel(Vec<String>),
    Run(String),
    Runs,
}

async fn ask(client: Client, kind: Kind, over: Arc<AtomicBool>) -> Outcome<Vec<Duration>> {
    let mut taken = Vec::new();
    while !over.load(Ordering::Relaxed) {
        taken.push(match &kind {
            Kind::Health => timed(client.health()).await?,
            Kind::Run(run) => timed(client.run(run)).await?,
            Kind::Runs => timed(client.runs(&Default::default())).await?,
            Kind::Cancel(runs) => match runs.get(taken.len()) {
                Some(run) => timed(client.cancel(run, &CancelRequest::default())).await?,
                None => break,
            },
        });
        tokio::time::sleep(PAUSE).await;
    }
    Ok(taken)
}

/// From the word that ends a run until each of its listeners has heard it.
async fn listened(client: &Client, figures: &mut Figures) -> Outcome<()> {
    let run = submit_all(client, 1, &sleeping()).await?.remove(0);
    let mut listeners = JoinSet::new();
    let (ready, mut all_ready) = tokio::sync::mpsc::channel(LISTENERS);
    for _ in 0..LISTENERS {
        let (mut events, ready) = (client.follow(&run, None), ready.clone());
        listeners.spawn(async move {
            events.next().await?;
            ready.send(()).await?;
            while !matches!(events.next().await?, Told::End) {}
            Outcome::Ok(Instant::now())
        });
    }
    for _ in 0..LISTENERS {
        all_ready.recv().await.ok_or("a listener went away")?;
    }
    let begun = Instant::now();
    client.cancel(&run, &CancelRequest::default()).await?;
    let mut taken = Vec::new();
    while let Some(heard) = listeners.join_next().await {
        taken.push(heard??.duration_since(begun));
    }
    figures.times("1,000 listeners: from cancel to the end of the stream", taken);
    Ok(())
}

async fn timed<T, E: Error + Send + Sync + 'static>(asked: impl Future<Output = Result<T, E>>) -> Outcome<Duration> {
    let begun = Instant::now();
    asked.await?;
    Ok(begun.elapsed())
}

/// Submits so many runs, all under way at once; their ids.
async fn submit_all(client: &Client, runs: usize, workflow: &Map<String, Value>) -> Outcome<Vec<String>> {
    let mut under_way = JoinSet::new();
    for _ in 0..runs {
        let client = client.clone();
        let request = RunRequest::of(WorkflowChoice::Inline(workflow.clone()));
        under_way.spawn(async move { client.submit(&request, None, None).await });
    }
    let mut made = Vec::new();
    while let Some(created) = under_way.join_next().await {
        made.push(created??.run_id);
    }
    Ok(made)
}

fn sleeping() -> Map<String, Value> {
    object(json!({"name": "sleeping", "tasks": {"a": {"sleep": "1h"}}}))
}

/// Tasks that are processes, which do nothing.
fn busy() -> Map<String, Value> {
    let tasks: Map<String, Value> = (0..TASKS).map(|task| (format!("t{task}"), json!({"exec": ["true"]}))).collect();
    object(json!({"name": "busy", "tasks": tasks}))
}

/// Calls of a worker elsewhere, in a queue of their own.
fn calling(tasks: usize) -> Map<String, Value> {
    let call = json!({"worker": HANDLER, "queue": "calls"});
    let tasks: Map<String, Value> = (0..tasks).map(|task| (format!("t{task}"), call.clone())).collect();
    object(json!({"name": "calling", "tasks": tasks}))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// A server in a folder of its own, which ends when this is dropped.
struct Server {
    child: Child,
    address: String,
    /// Kept open: a server whose output goes nowhere would end.
    _output: BufReader<ChildStdout>,
}

impl Server {
    fn start(unknot: &Path, scratch: &Path) -> Outcome<Self> {
        if scratch.exists() {
            fs::remove_dir_all(scratch)?;
        }
        fs::create_dir_all(scratch)?;
        let config = "server: {data: data, rate: {per_second: 1000000, burst: 1000000}}\nlogging: {level: warn}\n";
        fs::write(scratch.join("unknot.yaml"), config)?;
        let mut child = Command::new(fs::canonicalize(unknot)?)
            .args(["serve", "--insecure-loopback", "--listen", "127.0.0.1:0", "--config", "unknot.yaml"])
            .current_dir(scratch)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("the server has no standard output")?);
        let address = output
            .by_ref_lines()
            .find_map(|line| line.strip_prefix("listen")?.split_whitespace().next().map(str::to_owned));
        match address {
            Some(address) => Ok(Self { child, address, _output: output }),
            None => {
                child.kill()?;
                Err("the server did not start".into())
            }
        }
    }

    /// What of it is in memory now.
    fn memory_mib(&self) -> Outcome<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kib: f64 = line.split_whitespace().next().ok_or("no number")?.parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which the measurement has told.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// Lines of a reader that stays with its owner.
trait ByRefLines {
    fn by_ref_lines(&mut self) -> impl Iterator<Item = String>;
}

impl<R: BufRead> ByRefLines for R {
    fn by_ref_lines(&mut self) -> impl Iterator<Item = String> {
        self.lines().map_while(Result::ok)
    }
}

/// What was measured, in order.
#[derive(Default)]
struct Figures(Vec<Value>);

impl Figures {
    fn amount(&mut self, what: &str, value: f64, unit: &str) {
        self.0.push(json!({"what": what, "value": rounded(value), "unit": unit}));
    }

    fn times(&mut self, what: &str, mut taken: Vec<Duration>) {
        taken.sort();
        let at = |part: f64| {
            let place = ((taken.len() as f64 * part) as usize).min(taken.len().saturating_sub(1));
            rounded(taken.get(place).map_or(0.0, |taken| taken.as_secs_f64() * 1_000.0))
        };
        let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
        self.0.push(json!({"what": what, "p50_ms": p50, "p99_ms": p99, "max_ms": max, "times": taken.len()}));
    }

    fn as_json(&self) -> Value {
        Value::Array(self.0.clone())
    }

    /// What operators are promised and do not get.
    fn missed(&self) -> Vec<String> {
        let promised = ["saturated: GET /health", "saturated: PUT …/cancel"];
        let is_missed = |figure: &&Value| {
            promised.iter().any(|what| figure["what"] == *what)
                && figure["p99_ms"].as_f64().is_none_or(|p99| p99 > GOAL_P99_MS)
        };
        self.0.iter().filter(is_missed).map(|figure| figure["what"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn table(&self) -> String {
        let line = |figure: &Value| {
            let what = figure["what"].as_str().unwrap_or_default();
            match figure["value"].as_f64() {
                Some(value) => format!("{what:<56} {value:>9.2} {}\n", figure["unit"].as_str().unwrap_or_default()),
                None => {
                    let [p50, p99, max] =
                        ["p50_ms", "p99_ms", "max_ms"].map(|name| figure[name].as_f64().unwrap_or_default());
                    let times = figure["times"].as_u64().unwrap_or_default();
                    format!("{what:<56} {p50:>9.2} p50 {p99:>9.2} p99 {max:>9.2} max ms  ({times})\n")
                }
            }
        };
        self.0.iter().map(line).collect()
    }
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
