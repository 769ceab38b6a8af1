//! Planted deadlocks, one of each kind that there is: who plays in it, and when it is closed.
//!
//! A plant's tasks are called `p7-a`, its pools and locks `p7-x`: nobody else touches them, so it is dead exactly when
//! all who play in it stand where they are meant to.

use super::{
    code::{plays, plays_by_handler},
    definition::{HANDLER, plain, stored},
};
use crate::hands::script::{Script, Step, Wanted};
use std::{collections::BTreeMap, sync::Arc};
use unknot_core::{
    Millis, TaskIndex,
    event::Outcome,
    run::{AtDeadline, Awaited, JsonText},
    settings::PoolSettings,
    workflow::{Child, Definition, Need, Needs, OnChildFailure, OnFailure, TaskDef, TaskKind, Until},
};

/// The name of the wait in which a player stands once the deadlock is closed.
pub const WAIT: &str = "plant";
/// How long nobody can send what is awaited before the player gives up.
const PATIENCE: Millis = Millis::from_secs(100);

/// What kind of deadlock is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Two attempts take two locks in opposite order.
    TwoLocks,
    /// Three attempts in a ring of three locks.
    Ring,
    /// Two attempts hold half of a pool each, and want the other half.
    Counted,
    /// An attempt holds a pool that the run which it spawned needs, and waits for that.
    ChildAndPool,
    /// The same for a workflow task, which has no attempt of a worker.
    Called,
    /// A signal that only a task sends which has ended.
    EndedSender,
    /// A lock, a signal of a sibling, a child and a pool in one ring.
    Mixed,
    /// All slots that a task can have are held by those who wait for it.
    Slots,
    /// A pool is made smaller than what is asked for.
    Shrunk,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::TwoLocks,
        Self::Ring,
        Self::Counted,
        Self::ChildAndPool,
        Self::Called,
        Self::EndedSender,
        Self::Mixed,
        Self::Slots,
        Self::Shrunk,
    ];

    /// A word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::TwoLocks => "two locks",
            Self::Ring => "ring",
            Self::Counted => "counted",
            Self::ChildAndPool => "child and pool",
            Self::Called => "called",
            Self::EndedSender => "ended sender",
            Self::Mixed => "mixed",
            Self::Slots => "slots",
            Self::Shrunk => "shrunk",
        }
    }

    /// The kind of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// When a player stands where it is meant to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// It waits, under this name.
    Waits(&'static str),
    /// It stands in its queue.
    Queued,
    /// It has ended: not part of the deadlock, but its reason.
    Ended,
}

/// A planted deadlock.
#[derive(Clone, Debug)]
pub struct Plant {
    /// Its number.
    pub number: usize,
    /// Its kind.
    pub kind: Kind,
    /// Where each of its tasks has to stand, by the task's name.
    pub players: BTreeMap<String, Stands>,
    /// The runs to submit.
    pub runs: Vec<Arc<Definition>>,
    /// The workflows that these spawn.
    pub called: Vec<Arc<Definition>>,
    /// Its pool, and how large it is made.
    pub pool: Option<(String, PoolSettings)>,
    /// To what its pool is made smaller, and after how long.
    pub shrinks: Option<(u32, Millis)>,
    /// How many slots all workers with the handler must have together.
    pub slots: Option<u32>,
}

impl Plant {
    /// A deadlock of a kind, where workers with the handler have so many slots.
    pub fn new(number: usize, kind: Kind, slots: u32) -> Self {
        let stands = |role: &str, stands: Stands| (task_name(number, role), stands);
        let waits = |role: &str| stands(role, Stands::Waits(WAIT));
        let players = match kind {
            Kind::TwoLocks | Kind::Counted => vec![waits("a"), waits("b")],
            Kind::Ring => vec![waits("a"), waits("b"), waits("c")],
            Kind::ChildAndPool => vec![waits("a"), stands("c", Stands::Queued)],
            Kind::Called => vec![stands("a", Stands::Waits("children")), stands("c", Stands::Queued)],
            Kind::EndedSender => vec![waits("w"), stands("s", Stands::Ended)],
            Kind::Mixed => vec![waits("a"), waits("b"), waits("s"), waits("c")],
            Kind::Shrunk => vec![waits("a")],
            Kind::Slots => {
                let waiters = (0..slots).map(|slot| waits(&format!("w{slot}")));
                waiters.chain([stands("t", Stands::Queued)]).collect()
            }
        };
        let pool = |size| Some((format!("p{number}-q"), PoolSettings { size, lend: false, on_deadlock: None }));
        let (pool, shrinks) = match kind {
            Kind::Counted => (pool(4), None),
            Kind::ChildAndPool | Kind::Called | Kind::Mixed => (pool(1), None),
            Kind::Shrunk => (pool(3), Some((2, Millis(9_000)))),
            Kind::TwoLocks | Kind::Ring | Kind::EndedSender | Kind::Slots => (None, None),
        };
        let slots = (kind == Kind::Slots).then_some(slots);
        let (runs, called) = (runs(number, kind, slots.unwrap_or_default()), called(number, kind));
        Self { number, kind, players: players.into_iter().collect(), runs, called, pool, shrinks, slots }
    }
}

fn task_name(number: usize, role: &str) -> String {
    format!("p{number}-{role}")
}

/// The number of the plant that a task plays in, by its name.
pub fn number_of(task: &str) -> Option<usize> {
    task.strip_prefix('p')?.split_once('-')?.0.parse().ok()
}

fn runs(number: usize, kind: Kind, slots: u32) -> Vec<Arc<Definition>> {
    let task = |role: &str| TaskDef { kind: plays(number, kind, role), ..player(number, role) };
    let runs: Vec<Vec<TaskDef>> = match kind {
        Kind::TwoLocks | Kind::Counted => vec![vec![task("a")], vec![task("b")]],
        // Two of them in one run.
        Kind::Ring => vec![vec![task("a"), task("b")], vec![task("c")]],
        Kind::ChildAndPool => vec![vec![with_pool(number, task("a"))]],
        Kind::Called => {
            let child = Child {
                workflow: child_name(number).into(),
                input: serde_json::json!({}),
                detached: false,
                on_child_failure: OnChildFailure::Fail,
                for_each: None,
            };
            let parent = TaskDef { kind: TaskKind::Workflow(Box::new(child)), ..player(number, "a") };
            vec![vec![with_pool(number, parent)]]
        }
        Kind::EndedSender => vec![vec![TaskDef { on_failure: OnFailure::Continue, ..task("s") }, task("w")]],
        Kind::Mixed => vec![vec![task("s"), task("a")], vec![task("b")]],
        Kind::Shrunk => vec![vec![task("h"), task("a")]],
        Kind::Slots => {
            let by_handler =
                |role: &str| TaskDef { kind: plays_by_handler(number, kind, role, HANDLER), ..player(number, role) };
            // It is queued only when all others wait.
            let late = Needs { at_least: 1, of: vec![Need { task: TaskIndex(1), until: Until::Finished }] };
            let sender = TaskDef { needs: late, ..by_handler("t") };
            let pause = TaskDef { kind: TaskKind::Sleep(Millis(4_000)), ..player(number, "d") };
            let waiters = (0..slots).map(|slot| by_handler(&format!("w{slot}")));
            vec![[sender, pause].into_iter().chain(waiters).collect()]
        }
    };
    let named = runs.into_iter().enumerate();
    named.map(|(place, tasks)| stored(&format!("plant-{number}-{place}"), Millis::from_secs(900), tasks)).collect()
}

fn called(number: usize, kind: Kind) -> Vec<Arc<Definition>> {
    let task = |role: &str| TaskDef { kind: plays(number, kind, role), ..player(number, role) };
    let tasks = match kind {
        Kind::ChildAndPool | Kind::Called => vec![with_pool(number, task("c"))],
        Kind::Mixed => vec![task("c")],
        _ => return Vec::new(),
    };
    vec![stored(&child_name(number), Millis::from_secs(600), tasks)]
}

fn child_name(number: usize) -> String {
    format!("plant-{number}-child")
}

fn player(number: usize, role: &str) -> TaskDef {
    TaskDef { name: task_name(number, role).into(), ..plain(0) }
}

fn with_pool(number: usize, task: TaskDef) -> TaskDef {
    TaskDef { resources: BTreeMap::from([(format!("p{number}-q"), 1)]), ..task }
}

/// What somebody who plays in a deadlock does.
pub fn script(number: usize, kind: Kind, role: &str) -> Option<Script> {
    let name = |what: &str| format!("p{number}-{what}");
    let units = |what: &str, units: u32| Awaited::Units { pool: name(what), units };
    let first = |on: Awaited| wait("first", on, None);
    let last = |on: Awaited| wait(WAIT, on, None);
    let signal = |sender: u32| Awaited::Signal { name: "plant".to_owned(), from: vec![TaskIndex(sender)] };
    let child = || Awaited::Child { key: "c".to_owned(), until: Until::Finished };
    let spawn = || {
        let (key, workflow) = ("c".to_owned(), child_name(number));
        Step::Ask(Wanted::Spawn { key, workflow, detached: false }, None)
    };
    let work = |ms: u64| Step::Work(Millis(ms));
    let locks = |own: &str, others: &str| vec![first(units(own, 1)), work(2_000), last(units(others, 1))];
    let steps = match (kind, role) {
        (Kind::TwoLocks, "a") | (Kind::Ring, "a") => locks("x", "y"),
        (Kind::TwoLocks, "b") => locks("y", "x"),
        (Kind::Ring, "b") => locks("y", "z"),
        (Kind::Ring, "c") => locks("z", "x"),
        (Kind::Counted, _) => vec![first(units("q", 2)), work(2_000), last(units("q", 2))],
        (Kind::ChildAndPool, "a") => vec![spawn(), work(500), last(child())],
        (Kind::ChildAndPool | Kind::Called, _) => vec![work(500)],
        (Kind::EndedSender, "w") => vec![work(300), wait(WAIT, signal(0), Some(PATIENCE))],
        (Kind::EndedSender, _) => vec![work(1_500)],
        (Kind::Mixed, "a") => vec![first(units("x", 1)), work(500), last(signal(0))],
        (Kind::Mixed, "b") => vec![first(units("q", 1)), work(1_500), last(units("x", 1))],
        (Kind::Mixed, "s") => vec![spawn(), last(child()), Step::Ask(Wanted::Send("plant".to_owned()), None)],
        (Kind::Mixed, _) => vec![work(3_000), last(units("q", 1))],
        // Whoever is asked to send it never comes to that.
        (Kind::Slots, "t") => vec![work(300), Step::Ask(Wanted::Send("plant".to_owned()), None)],
        (Kind::Slots, _) => vec![work(500), last(signal(0))],
        (Kind::Shrunk, "h") => vec![first(units("q", 2)), work(30_000)],
        (Kind::Shrunk, _) => vec![work(1_500), wait(WAIT, units("q", 3), Some(PATIENCE))],
        _ => return None,
    };
    Some(Script::new(steps, Some(Outcome::Succeeded { output: JsonText("1".into()) })))
}

fn wait(name: &str, on: Awaited, within: Option<Millis>) -> Step {
    let then = AtDeadline::GiveUp;
    Step::Ask(Wanted::Wait { name: name.to_owned(), on, within, then }, None)
}
