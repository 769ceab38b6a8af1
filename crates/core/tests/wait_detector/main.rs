//! Three answers to the same question, held against each other in random systems that change: the detector step by
//! step, the full reduction, and a search through everything that could happen.
//!
//! Seconds here; `UNKNOT_CASES=200000 UNKNOT_SEED=7 cargo test --release -p unknot-core --test wait_detector` runs longer,
//! from another seed. A failure prints its seed, the step and the graph.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are free of the bans")]

#[path = "../common/random.rs"]
mod chance;
mod explore;
mod shapes;
mod system;

use explore::{World, explore};
use std::{
    collections::BTreeSet,
    env,
    panic::{AssertUnwindSafe, catch_unwind},
};
use system::System;
use unknot_core::wait::{NodeState, Snapshot, Verdict, analyze, reduce};

/// Systems that are driven.
const SYSTEMS: u64 = 2_500;
/// Changes of each.
const STEPS: u32 = 12;
/// Every so many steps, everything that could happen is searched through.
const EXPLORED_EVERY: u32 = 12;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn names(ids: &[String]) -> BTreeSet<String> {
    ids.iter().cloned().collect()
}

#[test]
fn detector_reduction_and_search_agree() {
    let (first, systems) =
        (number("UNKNOT_SEED", 1), number("UNKNOT_CASES", SYSTEMS * u64::from(STEPS)) / u64::from(STEPS));
    let (mut dead_states, mut dead_by_steps, mut revived, mut explored) = (0, 0, 0, 0);
    for seed in first..first + systems {
        let mut system = System::new(seed);
        let mut dead = BTreeSet::new();
        for step in 0..STEPS {
            let what = system.step();
            let context = || format!("seed {seed}, step {step}: {what:?}\n{}", system.text());
            let checked = catch_unwind(AssertUnwindSafe(|| system.detector.check()));
            assert!(checked.is_ok(), "the detector's own rules: {}", context());
            let verdict = reduce(&system.snapshot());
            let expected = names(&verdict.deadlocked);
            assert_eq!(system.deadlocked(), expected, "detector and reduction: {}", context());
            system.assert_told(&dead, &expected, &context);
            dead_by_steps += usize::from(!expected.is_subset(&dead));
            revived += usize::from(!dead.is_subset(&expected));
            dead_states += usize::from(!expected.is_empty());
            if !expected.is_empty() {
                let pictured = reduce(&system.picture());
                let told = |verdict: &Verdict| (names(&verdict.deadlocked), names(&verdict.core), verdict.soft);
                assert_eq!(told(&pictured), told(&verdict), "the dead alone: {}", context());
            }
            dead = expected;
            if step % EXPLORED_EVERY == EXPLORED_EVERY - 1 && !system.asks_twice {
                explored += usize::from(compare_with_search(&system.snapshot(), &context));
            }
        }
    }
    // A generator that plants nothing proves nothing.
    let states = systems * u64::from(STEPS);
    println!(
        "{states} states, {dead_states} with dead nodes, {dead_by_steps} steps that condemned, {revived} that revived, {explored} searched"
    );
    assert!(dead_states as u64 * 10 > states, "{dead_states} of {states} states have dead nodes");
    assert!(
        dead_by_steps as u64 * 40 > states && revived as u64 * 80 > states,
        "{dead_by_steps} and {revived} of {states}"
    );
}

/// Whether the search came to an end.
fn compare_with_search(snapshot: &Snapshot, context: &impl Fn() -> String) -> bool {
    let found = analyze(snapshot);
    let verdict = &found.verdict;
    let waiting: BTreeSet<String> =
        snapshot.nodes.iter().filter(|node| node.state == NodeState::Waiting).map(|node| node.id.clone()).collect();
    let worlds = [(true, true), (false, true), (true, false)];
    let [Some(open), Some(closed), Some(unordered)] =
        worlds.map(|(outside, order)| explore(snapshot, World { outside, order }))
    else {
        return false;
    };
    let dead: BTreeSet<String> = waiting.difference(&open).cloned().collect();
    assert_eq!(names(&verdict.deadlocked), dead, "reduction and search: {}", context());
    let needs_external: BTreeSet<String> = open.difference(&closed).cloned().collect();
    assert_eq!(names(&verdict.needs_external), needs_external, "needs the outside: {}", context());
    assert_eq!(verdict.soft, !dead.is_empty() && unordered == waiting, "soft: {}", context());
    compare_core(snapshot, &found, &dead, context);
    true
}

/// The snapshot once some nodes were cancelled.
fn without(snapshot: &Snapshot, ended: &BTreeSet<String>) -> Snapshot {
    let mut snapshot = snapshot.clone();
    for node in snapshot.nodes.iter_mut().filter(|node| ended.contains(&node.id)) {
        node.state = NodeState::Cancelled;
    }
    snapshot.waits.retain(|wait| !ended.contains(&wait.node));
    snapshot
}

/// The cause needs nobody outside it, and the victims are the fewest and cheapest that free the rest.
fn compare_core(
    snapshot: &Snapshot,
    found: &unknot_core::wait::Analysis,
    dead: &BTreeSet<String>,
    context: &impl Fn() -> String,
) {
    let core = names(&found.verdict.core);
    assert!(core.is_subset(dead) && core.is_empty() == dead.is_empty(), "core {core:?}: {}", context());
    let others: BTreeSet<String> = dead.difference(&core).cloned().collect();
    assert_eq!(names(&reduce(&without(snapshot, &others)).deadlocked), core, "core: {}", context());
    let cost = |ended: &BTreeSet<String>| -> f64 {
        let nodes = snapshot.nodes.iter().filter(|node| ended.contains(&node.id));
        nodes.map(|node| node.cost.unwrap_or(1.0)).sum()
    };
    let all: Vec<&String> = dead.iter().collect();
    let subsets = (0_u32..1 << all.len()).map(|bits| {
        let chosen = all.iter().enumerate().filter(|(place, _)| bits & (1 << place) != 0);
        chosen.map(|(_, id)| (*id).clone()).collect::<BTreeSet<String>>()
    });
    let frees = |ended: &BTreeSet<String>| reduce(&without(snapshot, ended)).deadlocked.is_empty();
    let price = |ended: &BTreeSet<String>| (ended.len(), cost(ended));
    let best = subsets
        .filter(frees)
        .map(|ended| price(&ended))
        .min_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
    let victims = names(&found.victims);
    assert!(frees(&victims), "victims {victims:?}: {}", context());
    assert!(found.exact && Some(price(&victims)) == best, "victims {victims:?}, best {best:?}: {}", context());
    for repair in &found.repairs {
        let mut others = dead.clone();
        others.remove(&repair.node);
        let mut snapshot = snapshot.clone();
        for node in snapshot.nodes.iter_mut().filter(|node| others.contains(&node.id)) {
            node.state = NodeState::Running;
        }
        assert_eq!(reduce(&snapshot).deadlocked, std::slice::from_ref(&repair.node), "{repair:?}: {}", context());
    }
}
