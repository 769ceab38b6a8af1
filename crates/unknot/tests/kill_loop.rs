//! The plug is pulled again and again: `kill -9` of a working `unknot run`, at random moments.
//!
//! After each: everything it started is gone within five seconds, without a next start. At the end: the
//! same run has completed, and no recorded completion was repeated. Ten rounds here; more with
//! `UNKNOT_KILL_ROUNDS` (`cargo xtask kill-loop`), from the seed in `UNKNOT_KILL_SEED`.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are free of the bans")]

use serde_json::Value;
use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Within which everything that a killed `unknot` started has to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn heavy_killed_again_and_again_a_run_completes_and_repeats_nothing() {
    let rounds = number("UNKNOT_KILL_ROUNDS").unwrap_or(10);
    let seed = number("UNKNOT_KILL_SEED").unwrap_or(u64::from(std::process::id()));
    println!("replay: UNKNOT_KILL_ROUNDS={rounds} UNKNOT_KILL_SEED={seed} cargo test -p unknot --test kill_loop");
    let place = tempfile::tempdir().expect("a temporary folder");
    // A length of sleep that nothing else on this machine has: by it the processes are found.
    let nonce = format!("4{:05}.{:06}", std::process::id() % 100_000, seed % 1_000_000);
    write_flow(place.path(), rounds, &nonce);

    let mut chance = seed;
    let mut runs = Vec::new();
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let lines = 4 + random(&mut chance) % 24;
        let (run, finished) = start_and_kill(place.path(), lines as usize);
        runs.push(run);
        slowest = slowest.max(await_gone(&nonce, round));
        assert!(!finished, "the run was too short for {rounds} rounds: it completed in round {round}");
    }
    let summary = run_to_the_end(place.path());
    assert_eq!(summary["status"], "COMPLETED", "{summary}");
    runs.push(summary["run"].as_str().unwrap_or_default().to_owned());
    runs.dedup();
    assert_eq!(runs.len(), 1, "each start went on with the same run: {runs:?}");
    await_gone(&nonce, rounds);
    let lost = check_history(place.path(), &runs[0], 12 * rounds as usize);
    println!("{rounds} kills, all gone after at most {slowest:?}; {lost} attempts were lost and made again");
}

/// Layers of tasks that leave a daemon behind, write down that they ran, and take a moment.
fn write_flow(place: &Path, rounds: u64, nonce: &str) {
    let mut flow = String::from("name: kill-loop\ntimeout: 10m\ntasks:\n");
    for index in 0..12 * rounds {
        let command = format!("setsid sleep {nonce} & sleep 0.05; echo $UNKNOT_TASK >> effects.log; sleep 0.05");
        flow += &format!("  t{index}:\n    exec: \"{command}\"\n    timeout: 60s\n");
        if index >= 12 {
            // Four of each layer wait for the layer before.
            flow += &format!("    needs: [t{}]\n", if index % 3 == 0 { index - 12 } else { index % 12 });
        }
    }
    fs::write(place.join("flow.yaml"), flow).expect("the flow is written");
}

fn unknot(place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unknot"));
    command.args(arguments).current_dir(place).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// Starts the run, reads so many lines of what it does, and kills it. Says which run it was, and whether
/// it came to its end before.
fn start_and_kill(place: &Path, lines: usize) -> (String, bool) {
    let mut child = unknot(place, &["run", "flow.yaml", "--json"]).spawn().expect("unknot starts");
    let stdout = child.stdout.take().expect("its output is piped");
    let mut heard = BufReader::new(stdout).lines().map(|line| line.expect("its output is text"));
    let start = json(&heard.next().expect("a first line"));
    let run = start["start"]["run"].as_str().expect("the first line names the run").to_owned();
    let finished = heard.take(lines).any(|line| json(&line).get("summary").is_some());
    kill(&mut child);
    (run, finished)
}

fn kill(child: &mut Child) {
    child.kill().expect("it is killed");
    child.wait().expect("it is reaped");
}

/// Waits until no process has the nonce in its command line. The kernel tells nobody who is not their
/// parent, so this looks again and again.
fn await_gone(nonce: &str, round: u64) -> Duration {
    let start = Instant::now();
    loop {
        let left = processes_with(nonce);
        if left.is_empty() {
            return start.elapsed();
        }
        assert!(start.elapsed() < GONE_WITHIN, "round {round}: alive after {GONE_WITHIN:?}: {left:?}");
        thread::yield_now();
    }
}

fn processes_with(nonce: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let texts = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    texts.filter(|line| line.contains(nonce) && line.starts_with("sleep")).collect()
}

fn run_to_the_end(place: &Path) -> Value {
    let output = unknot(place, &["run", "flow.yaml", "--json"]).output().expect("unknot runs");
    let text = String::from_utf8(output.stdout).expect("its output is text");
    json(text.lines().last().expect("a last line"))["summary"].clone()
}

/// Each task completed exactly once and was given to nobody after that. Says how many attempts were lost.
fn check_history(place: &Path, run: &str, tasks: usize) -> usize {
    let output = unknot(place, &["show", run, "--events", "--json"]).output().expect("unknot shows");
    let text = String::from_utf8(output.stdout).expect("its output is text");
    let mut completed: BTreeMap<String, usize> = BTreeMap::new();
    let mut lost = 0;
    for event in text.lines().map(json) {
        let Some(name) = event["name"].as_str() else { continue };
        match event["event"].as_str() {
            Some("TASK_COMPLETED") => *completed.entry(name.to_owned()).or_default() += 1,
            Some("TASK_GRANTED" | "TASK_STARTED") => {
                assert!(!completed.contains_key(name), "{name} was given out again after it had completed");
            }
            Some("TASK_LOST") => lost += 1,
            _ => {}
        }
    }
    assert_eq!(completed.len(), tasks, "every task completed");
    assert!(completed.values().all(|&times| times == 1), "and was recorded once: {completed:?}");
    let effects = fs::read_to_string(place.join("effects.log")).expect("the tasks wrote down that they ran");
    assert!(effects.lines().count() <= tasks + lost, "what was not lost was done once");
    lost
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("`{line}` is not JSON: {error}"))
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// A linear congruential step (Knuth's constants), its upper bits.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}
