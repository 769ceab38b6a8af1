//! The manual scan, and what is read from a store beside the brain.

use crate::story::{self, Story};
use unknot_core::{
    State,
    monitor::{Suspect, suspects},
    settings::{Bounds, Monitor},
    wait::{self, Mover, Movers, Watched},
    worker::{Serves, Workers},
};

/// Two rings that have nothing to do with each other, a wait that is orphaned, and who waits behind the first ring: one
/// of them in a chain. The last one stands in no deadlock's way.
const APART: &str = "workflow ring\n  task a\n  task b\nworkflow one\n  task t\nworkflow orph\n  task send on_failure continue\n  \
    task get signal ready from send\n\n> alert\n> worker local slots 20\n> submit r1 ring\n> submit r2 ring\n> submit r3 orph\n\
    > submit r4 one\n> submit r5 one\n> submit r6 one\n> submit r7 one\n> end r3.send fail exit 1\n> ask r1.a wait own lock:x\n\
    > ask r1.b wait own lock:y\n> ask r2.a wait own lock:v\n> ask r2.b wait own lock:w\n> ask r4.t wait own lock:p\n\
    > ask r7.t wait own lock:q\n> ask r1.a wait next lock:y\n> ask r1.b wait next lock:x\n> ask r2.a wait next lock:w\n\
    > ask r2.b wait next lock:v\n> ask r4.t wait next lock:x\n> ask r5.t wait next lock:p\n> ask r6.t wait next lock:q\n";

fn scan(story: &Story) -> Vec<(String, Suspect)> {
    let (state, now) = (&story.world.state, story.world.now);
    let (_, found) = suspects(state, &wait::snapshot(state, now), Watched { now, since: now });
    let name =
        |found: &Suspect| story.runs.iter().find(|(_, (run, _))| *run == found.run).map(|(name, _)| name.clone());
    found.into_iter().map(|found| (name(&found).expect("a run of the story"), found)).collect()
}

#[test]
fn each_deadlock_of_its_own_is_its_own_part_with_its_kind() {
    let story = story::begin(APART);
    let found = scan(&story);
    let mut told: Vec<(&str, &str, Option<u64>, &[u64])> =
        found.iter().map(|(name, one)| (name.as_str(), one.kind.word(), one.part_of, one.behind.as_slice())).collect();
    told.sort_unstable();
    let part = |run: &str| found.iter().find(|(name, _)| name == run).and_then(|(_, one)| one.part_of);
    let parts: [u64; 3] = ["r1", "r2", "r3"].map(|run| part(run).expect("it is proved"));
    let behind = [parts[0]];
    assert_eq!(
        told,
        [
            ("r1", "deadlocked", Some(parts[0]), &[][..]),
            ("r2", "deadlocked", Some(parts[1]), &[]),
            ("r3", "orphaned", Some(parts[2]), &[]),
            ("r4", "stalled", None, &behind),
            ("r5", "stalled", None, &behind),
        ]
    );
    let explained = |run: &str| {
        found.iter().find(|(name, _)| name == run).map(|(_, one)| one.explanation.join("\n")).expect("it was found")
    };
    for (own, others) in
        [("r1", ["`v`", "ready", "behind"]), ("r2", ["`x`", "ready", "behind"]), ("r3", ["`x`", "`v`", "behind"])]
    {
        assert!(!others.iter().any(|other| explained(own).contains(other)), "{own}: {}", explained(own));
    }
    let chain = explained("r5");
    assert!(
        chain.contains("waits behind the deadlock of `ring/a` (") && chain.contains("waits for lock `p`"),
        "{chain}"
    );
}

#[test]
fn a_scan_calls_a_deadlock_what_its_verdict_does() {
    let story = story::begin(APART);
    let told = story.world.rows.values().filter_map(|row| match row {
        unknot_core::row::Row::Deadlock(verdict) => Some((verdict.kind, verdict.explanation.clone())),
        _ => None,
    });
    let mut told: Vec<_> = told.collect();
    let mut found: Vec<_> = scan(&story)
        .into_iter()
        .filter(|(_, one)| one.part_of.is_some())
        .map(|(_, one)| (one.kind, one.explanation))
        .collect();
    told.sort();
    found.sort();
    assert_eq!(told, found);
}

/// As a store has it, with one worker of so many slots.
fn read(story: &Story, slots: u32) -> State {
    let mut state = State::load(story.world.loaded(), Bounds::default()).expect("it was written by the brain");
    let mut workers = Workers::default();
    for worker in story.world.state.volatile.workers.iter().map(|(worker, _)| worker) {
        workers.insert(worker, slots, &Serves::default());
    }
    state.look_with(workers, None, Monitor::default());
    state
}

#[test]
fn who_stands_behind_another_is_not_said_to_be_next() {
    let story = story::begin(
        "> pool p 2\nworkflow hold\n  task a pools p:1\nworkflow large\n  task a pools p:2\nworkflow small\n  task a pools p:1\n\n\
         > worker local slots 9\n> submit r1 hold\n> submit r2 large\n> submit r3 small\n",
    );
    let state = read(&story, 9);
    let id = story.task("r3.a");
    let said = |state: &State| wait::describe(state, id).expect("it waits").sentence;
    assert_eq!(said(&state), "stands behind an earlier task that waits for pool `p`");
    assert_eq!(said(&state), said(&story.world.state), "as the brain says it");
    assert_eq!(Movers::new(&state).of(id), Some(Mover::Causes));
}
