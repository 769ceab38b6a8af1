//! The proof before the run, held against every order of grants of small systems that are drawn at random.
//!
//! Seconds here; `UNKNOT_CASES=20000 UNKNOT_STATES=5000 UNKNOT_SEED=7 cargo test --release -p unknot-core --test proof` goes
//! farther, from another seed. A failure prints its seed, the system and what was said of it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are free of the bans")]

mod cases;
#[path = "../common/random.rs"]
mod chance;
mod explore;
mod random;

use explore::{Explorer, Found};
use std::{collections::BTreeMap, env};
use unknot_core::{
    proof::{Declared, Effort, Proof, Rule, Scenario, Verdict, prove},
    wait::{Class, analyze},
};

/// Systems that are drawn.
const CASES: u64 = 400;
/// States of each after which the search through them is given up; the proof has ten times as many.
const STATES: u64 = 120;
/// Runs of a set that are searched through at most.
const RUNS_MAX: usize = 3;
/// Of so many systems, one is judged in every state.
const JUDGED_EVERY: u64 = 32;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn verdicts_are_those_of_every_order_of_grants() {
    let (first, cases) = (number("UNKNOT_SEED", 1), number("UNKNOT_CASES", CASES));
    let states = number("UNKNOT_STATES", STATES) as usize;
    let mut told: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in first..first + cases {
        let declared = random::system(seed);
        let proofs = prove(&declared, Effort { states_max: 10 * states });
        for word in check(seed, states, &declared, &proofs) {
            *told.entry(word).or_default() += 1;
        }
    }
    println!("{told:?}");
    let count = |word| told.get(word).copied().unwrap_or_default();
    if cases >= CASES {
        for word in ["all at once", "ordered", "lending", "bounded", "unsafe", "reached"] {
            assert!(count(word) > cases / 100, "hardly any system is called `{word}`: {told:?}");
        }
        assert!(count("unknown") < cases / 20, "too much stays unknown: {told:?}");
    }
}

/// Holds what was said of a system against every order of grants, and says what it was.
fn check(seed: u64, states: usize, declared: &Declared, proofs: &[Proof]) -> Vec<&'static str> {
    let mut words: Vec<&'static str> = proofs.iter().map(word).collect();
    let scenarios: Vec<&Scenario> = proofs.iter().filter_map(scenario).collect();
    for scenario in &scenarios {
        let verdict = analyze(&scenario.graph).verdict.verdict;
        assert_eq!(verdict, Class::Deadlocked, "seed {seed}: {}", say(declared, proofs));
    }
    let is_smallest = scenarios.iter().all(|scenario| scenario.smallest);
    let runs = scenarios.iter().map(|scenario| total(scenario)).min();
    let all_safe = proofs.iter().all(|proof| matches!(proof.verdict, Verdict::Safe { .. }));
    let explorer = Explorer::new(declared, states, seed.is_multiple_of(JUDGED_EVERY));
    for size in 1..=runs.unwrap_or(RUNS_MAX).min(RUNS_MAX) {
        let mut is_reached = false;
        let mut is_whole = true;
        for set in sets(declared, size) {
            match explorer.explore(&set) {
                Found::Deadlock => {
                    let told = || format!("seed {seed}: {set:?} can deadlock: {}", say(declared, proofs));
                    assert!(!all_safe, "{}", told());
                    assert!(runs.is_none_or(|runs| size >= runs || !is_smallest), "{}", told());
                    is_reached = true;
                    break;
                }
                Found::Nothing => {}
                Found::TooMuch => is_whole = false,
            }
        }
        if runs == Some(size) {
            let told = || format!("seed {seed}: no {size} runs deadlock: {}", say(declared, proofs));
            assert!(is_reached || !is_whole, "{}", told());
            words.extend(is_reached.then_some("reached"));
        }
        if !is_whole {
            words.push("not looked at to its end");
            break;
        }
    }
    words
}

fn word(proof: &Proof) -> &'static str {
    match &proof.verdict {
        Verdict::Safe { rule } => match rule {
            Rule::AllAtOnce => "all at once",
            Rule::Ordered { .. } => "ordered",
            Rule::Lending { .. } => "lending",
            Rule::Bounded { .. } => "bounded",
            Rule::Explored { .. } => "explored",
        },
        Verdict::Unsafe { .. } => "unsafe",
        Verdict::Unknown { .. } => "unknown",
    }
}

fn scenario(proof: &Proof) -> Option<&Scenario> {
    match &proof.verdict {
        Verdict::Unsafe { scenario } => Some(scenario),
        _ => None,
    }
}

fn total(scenario: &Scenario) -> usize {
    scenario.runs.iter().map(|runs| runs.count).sum()
}

/// Every choice of so many runs of the roots.
fn sets(declared: &Declared, size: usize) -> Vec<Vec<String>> {
    let mut sets: Vec<Vec<String>> = vec![Vec::new()];
    for root in &declared.roots {
        let most = root.runs_max.map_or(size, |most| most as usize);
        sets = sets
            .iter()
            .flat_map(|set| {
                (0..=most.min(size - set.len())).map(move |count| {
                    let more = std::iter::repeat_n(root.workflow.to_string(), count);
                    set.iter().cloned().chain(more).collect::<Vec<_>>()
                })
            })
            .collect();
    }
    sets.retain(|set| set.len() == size);
    sets
}

fn say(declared: &Declared, proofs: &[Proof]) -> String {
    let proofs: Vec<String> =
        proofs.iter().map(|proof| serde_json::to_string(proof).expect("a proof is JSON")).collect();
    format!("{}\n{}", random::say(declared), proofs.join("\n"))
}
