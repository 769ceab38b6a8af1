//! The reduction against the worked examples of the snapshot format.
#![expect(clippy::disallowed_methods, reason = "tests read files")]

use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs};
use unknot_core::wait::{Class, Snapshot, Verdict, confirm, reduce};

#[derive(Deserialize)]
struct Examples {
    scenarios: Vec<Example>,
}

#[derive(Deserialize)]
struct Example {
    id: String,
    expected: Expected,
    generate: Option<Generate>,
    snapshots: Option<Vec<Snapshot>>,
    #[serde(flatten)]
    snapshot: Snapshot,
}

#[derive(Deserialize)]
struct Expected {
    deadlocked: Ids,
    core: Option<Ids>,
    needs_external: Option<Ids>,
    soft: Option<bool>,
}

/// Ids one by one, or as a range.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    List(BTreeSet<String>),
    Range { prefix: String, from: u32, to: u32 },
}

/// A large graph as a rule.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Generate {
    LockChain {
        n: u32,
        closed: bool,
    },
    Convoy {
        n: u32,
    },
    PoolSaturation {
        n: u32,
        #[serde(default)]
        spare: u32,
    },
    FanIn {
        n: u32,
        k: u32,
        dead: u32,
    },
}

impl Ids {
    fn set(&self) -> BTreeSet<String> {
        match self {
            Self::List(ids) => ids.clone(),
            Self::Range { prefix, from, to } => (*from..=*to).map(|number| format!("{prefix}{number}")).collect(),
        }
    }
}

impl Generate {
    fn snapshot(&self) -> Snapshot {
        let text = match *self {
            Self::LockChain { n, closed } => lock_chain(n, closed),
            Self::Convoy { n } => convoy(n),
            Self::PoolSaturation { n, spare } => pool_saturation(n, spare),
            Self::FanIn { n, k, dead } => fan_in(n, k, dead),
        };
        serde_json::from_value(text).expect("a generated snapshot is one")
    }
}

fn node(id: &str, state: &str) -> Value {
    json!({ "id": id, "state": state })
}

fn hold(node: &str, resource: &str) -> Value {
    json!({ "node": node, "resource": resource, "units": 1 })
}

fn wait(node: &str, term: Value) -> Value {
    json!({ "node": node, "expr": { "mode": "all", "of": [term] } })
}

fn unit_of(resource: &str) -> Value {
    json!({ "resource": resource, "units": 1 })
}

fn lock_chain(n: u32, closed: bool) -> Value {
    let waits = |i: &u32| closed || i + 1 < n;
    let state = |i: u32| if waits(&i) { "waiting" } else { "running" };
    json!({
        "nodes": (0..n).map(|i| node(&format!("t{i}"), state(i))).collect::<Vec<_>>(),
        "resources": (0..n).map(|i| json!({ "id": format!("L{i}"), "units": 1, "queue": "any" })).collect::<Vec<_>>(),
        "holds": (0..n).map(|i| hold(&format!("t{i}"), &format!("L{i}"))).collect::<Vec<_>>(),
        "waits": (0..n).filter(waits)
            .map(|i| wait(&format!("t{i}"), unit_of(&format!("L{}", (i + 1) % n)))).collect::<Vec<_>>(),
    })
}

fn convoy(n: u32) -> Value {
    let waiting = (0..n).map(|i| node(&format!("w{i}"), "waiting"));
    json!({
        "nodes": std::iter::once(node("h", "running")).chain(waiting).collect::<Vec<_>>(),
        "resources": [{ "id": "L", "units": 1, "queue": "fifo" }],
        "holds": [hold("h", "L")],
        "waits": (0..n).map(|i| wait(&format!("w{i}"), unit_of("L"))).collect::<Vec<_>>(),
    })
}

fn pool_saturation(n: u32, spare: u32) -> Value {
    let state = |i: u32| if i < spare { "running" } else { "waiting" };
    let nodes = (0..n).flat_map(|i| [node(&format!("p{i}"), "waiting"), node(&format!("c{i}"), state(i))]);
    let spare_holds = (0..spare).map(|i| hold(&format!("c{i}"), "P"));
    let parent = |i: u32| wait(&format!("p{i}"), json!({ "node": format!("c{i}"), "until": "terminal" }));
    let child_waits = (spare..n).map(|i| wait(&format!("c{i}"), unit_of("P")));
    json!({
        "nodes": nodes.collect::<Vec<_>>(),
        "resources": [{ "id": "P", "units": n + spare, "queue": "fifo" }],
        "holds": (0..n).map(|i| hold(&format!("p{i}"), "P")).chain(spare_holds).collect::<Vec<_>>(),
        "waits": (0..n).map(parent).chain(child_waits).collect::<Vec<_>>(),
    })
}

fn fan_in(n: u32, k: u32, dead: u32) -> Value {
    let state = |i: u32| if i < dead { "waiting" } else { "running" };
    let children = (0..n).map(|i| node(&format!("c{i}"), state(i)));
    let terms: Vec<Value> = (0..n).map(|i| json!({ "node": format!("c{i}"), "until": "terminal" })).collect();
    let root = json!({ "node": "root", "expr": { "mode": "k", "k": k, "of": terms } });
    let dead_waits = (0..dead).map(|i| wait(&format!("c{i}"), json!({ "node": "root", "until": "terminal" })));
    json!({
        "nodes": std::iter::once(node("root", "waiting")).chain(children).collect::<Vec<_>>(),
        "waits": std::iter::once(root).chain(dead_waits).collect::<Vec<_>>(),
    })
}

fn set(ids: &[String]) -> BTreeSet<String> {
    ids.iter().cloned().collect()
}

#[test]
fn every_example_is_judged_as_the_format_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/wait-graph-examples.json");
    let text = fs::read_to_string(path).expect("the examples can be read");
    let examples: Examples = serde_json::from_str(&text).expect("the examples have the format's form");
    assert_eq!(examples.scenarios.len(), 22, "all examples are there");
    for Example { id, expected, generate, snapshots, snapshot } in examples.scenarios {
        let verdict = match (generate, snapshots.as_deref()) {
            (Some(rule), _) => reduce(&rule.snapshot()),
            (None, Some([first, second])) => confirm(first, second),
            (None, _) => reduce(&snapshot),
        };
        assert_eq!(set(&verdict.deadlocked), expected.deadlocked.set(), "{id}: deadlocked");
        if let Some(core) = expected.core {
            assert_eq!(set(&verdict.core), core.set(), "{id}: core");
        }
        if let Some(external) = expected.needs_external {
            assert_eq!(set(&verdict.needs_external), external.set(), "{id}: needs_external");
        }
        if let Some(soft) = expected.soft {
            assert_eq!(verdict.soft, soft, "{id}: soft");
        }
        assert_eq!(verdict.verdict, class(&verdict), "{id}: verdict");
    }
}

/// The precedence of verdicts, said once more.
fn class(verdict: &Verdict) -> Class {
    match (verdict.deadlocked.is_empty(), verdict.soft, verdict.needs_external.is_empty()) {
        (false, false, _) => Class::Deadlocked,
        (false, true, _) => Class::Soft,
        (true, _, false) => Class::Stalled,
        (true, _, true) => Class::Moving,
    }
}

#[test]
fn a_long_queue_and_a_wide_join_are_judged() {
    let n = 5_000;
    assert!(reduce(&Generate::Convoy { n }.snapshot()).deadlocked.is_empty());
    let fan_in = Generate::FanIn { n, k: n / 2 + 1, dead: n / 2 };
    assert_eq!(reduce(&fan_in.snapshot()).deadlocked.len(), n as usize / 2 + 1);
}

#[test]
fn units_that_nobody_gave_back_are_gone() {
    let leak = |leaked: bool| {
        let snapshot = json!({
            "nodes": [node("a", "waiting"), node("b", "done")],
            "resources": [{ "id": "L", "units": 1, "queue": "any" }],
            "holds": [{ "node": "b", "resource": "L", "units": 1, "leaked": leaked }],
            "waits": [wait("a", unit_of("L"))],
        });
        reduce(&serde_json::from_value(snapshot).expect("a snapshot")).deadlocked
    };
    assert!(leak(false).is_empty());
    assert_eq!(leak(true), ["a"]);
}
