//! Scripts by chance: the same code always gives the same one.

use super::{Script, Step, Wanted};
use crate::chance::Chance;
use std::collections::BTreeMap;
use unknot_core::{
    Millis, TaskIndex, Timestamp,
    event::{NextTry, Outcome},
    run::{AtDeadline, Awaited, JsonText},
    workflow::Until,
};

/// What scripts ask for by chance.
const POOLS: [&str; 7] = ["gpu", "licence", "disk", "ledger", "door", "north", "south"];
const SIGNALS: [&str; 2] = ["go", "on"];
const KEYS: [&str; 3] = ["first", "second", "third"];
/// Locks and pools in the one order in which careful scripts take them; each depth has its own.
const ORDERED: [[&str; 3]; 4] = [["r9", "r10", "r11"], ["r6", "r7", "r8"], ["r3", "r4", "r5"], ["r0", "r1", "r2"]];

/// How a script goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As chance has it.
    Wild,
    /// So that no deadlock can come of it: everything in one order, and what runs below takes comes after that.
    Careful,
}

/// The script of an attempt, as its command names it.
pub fn draw(style: Style, level: u32, seed: u64, attempt: u32) -> Script {
    let mut chance = Chance::new(seed ^ (u64::from(attempt) << 32));
    let mut steps = vec![work(&mut chance)];
    let mut drawer = Drawer { style, level, spawned: Vec::new(), held: BTreeMap::new(), taken: 0 };
    for number in 0..chance.between(1, 6) {
        steps.extend(drawer.step(&mut chance, number));
        if chance.permille(500) {
            steps.push(work(&mut chance));
        }
    }
    let ends = match chance.between(0, 9) {
        0..=7 => Outcome::Succeeded { output: JsonText("1".into()) },
        _ => {
            let message = "exit status 1".to_owned();
            Outcome::Failed { reason: "exit".to_owned(), message, exit: Some(1), next_try: NextTry::AsUsual }
        }
    };
    Script::new(steps, Some(ends))
}

fn work(chance: &mut Chance) -> Step {
    let most = *chance.weighted(&[(4, 500), (3, 3_000), (1, 20_000)]);
    Step::Work(Millis(chance.between(0, most)))
}

struct Drawer {
    style: Style,
    /// How many levels of workflows are below.
    level: u32,
    spawned: Vec<String>,
    held: BTreeMap<String, u32>,
    /// How many of the ordered ones it has taken.
    taken: usize,
}

impl Drawer {
    fn step(&mut self, chance: &mut Chance, number: u64) -> Option<Step> {
        let spawns = if self.level > 0 { 4 } else { 0 };
        let awaits = if self.spawned.is_empty() { 0 } else { 4 };
        let releases = if self.held.is_empty() { 0 } else { 2 };
        let sends = if self.style == Style::Wild { 1 } else { 0 };
        match *chance.weighted(&[(6, 0), (spawns, 1), (awaits, 2), (releases, 3), (sends, 4)]) {
            0 => self.wait(chance, number),
            1 => Some(self.spawn(chance)),
            2 => {
                let on = self.children(chance);
                Some(self.ask(chance, number, on))
            }
            3 => {
                let pool = chance.pick(&self.held.keys().cloned().collect::<Vec<_>>()).clone();
                let units = self.held.remove(&pool)?;
                Some(Step::Ask(Wanted::Release(BTreeMap::from([(pool, units)])), None))
            }
            _ => Some(Step::Ask(Wanted::Send((*chance.pick(&SIGNALS)).to_owned()), None)),
        }
    }

    fn ask(&mut self, chance: &mut Chance, number: u64, on: Awaited) -> Step {
        let within = chance.permille(400).then(|| Millis(chance.between(0, 60_000)));
        let then = if chance.permille(150) { AtDeadline::Stop } else { AtDeadline::GiveUp };
        let patience = chance.permille(100).then(|| Millis(chance.between(100, 60_000)));
        Step::Ask(Wanted::Wait { name: format!("w{number}"), on, within, then }, patience)
    }

    fn wait(&mut self, chance: &mut Chance, number: u64) -> Option<Step> {
        let on = match self.style {
            Style::Wild => self.anything(chance, 0, &mut POOLS.to_vec()),
            Style::Careful => self.next_in_order(chance)?,
        };
        Some(self.ask(chance, number, on))
    }

    /// An expression over everything that there is to wait for; each pool stands in it once.
    fn anything(&mut self, chance: &mut Chance, depth: u32, pools: &mut Vec<&'static str>) -> Awaited {
        let nests = if depth < 2 { 3 } else { 0 };
        let children = if self.spawned.is_empty() { 0 } else { 2 };
        let units = if pools.is_empty() { 0 } else { 8 };
        match *chance.weighted(&[(units, 0), (children, 1), (1, 2), (1, 3), (nests, 4)]) {
            0 => {
                let pool = pools.swap_remove(chance.between(0, pools.len() as u64 - 1) as usize);
                let units = *chance.weighted(&[(5, 1), (1, 2)]);
                if depth == 0 {
                    *self.held.entry(pool.to_owned()).or_default() += units;
                }
                Awaited::Units { pool: pool.to_owned(), units }
            }
            1 => self.children(chance),
            2 => {
                let from = if chance.permille(500) { Vec::new() } else { vec![TaskIndex(0)] };
                Awaited::Signal { name: (*chance.pick(&SIGNALS)).to_owned(), from }
            }
            3 => Awaited::Timer { at: Timestamp(chance.between(0, 30_000)) },
            _ => {
                let count = chance.between(1, 3);
                let of: Vec<Awaited> = (0..count).map(|_| self.anything(chance, depth + 1, pools)).collect();
                Awaited::AtLeast { k: chance.between(1, count) as u32, of }
            }
        }
    }

    /// The next ones in the order, at once or one by one; with a way out now and then.
    fn next_in_order(&mut self, chance: &mut Chance) -> Option<Awaited> {
        let own = &ORDERED[self.level as usize % ORDERED.len()][self.taken..];
        let many = chance.between(1, 2).min(own.len() as u64) as usize;
        let units: Vec<Awaited> =
            own[..many].iter().map(|pool| Awaited::Units { pool: (*pool).to_owned(), units: 1 }).collect();
        self.held.extend(own[..many].iter().map(|pool| ((*pool).to_owned(), 1)));
        self.taken += many;
        let timer = Awaited::Timer { at: Timestamp(chance.between(0, 30_000)) };
        Some(match chance.between(0, 5) {
            _ if units.is_empty() => return None,
            0 => Awaited::any(vec![Awaited::all(units), timer]),
            1 => Awaited::AtLeast { k: 1, of: units },
            _ => Awaited::all(units),
        })
    }

    fn spawn(&mut self, chance: &mut Chance) -> Step {
        let (key, detached) = ((*chance.pick(&KEYS)).to_owned(), chance.permille(150));
        let workflow = format!("lib-{}", chance.between(0, u64::from(self.level) - 1));
        self.spawned.push(key.clone());
        Step::Ask(Wanted::Spawn { key, workflow, detached }, None)
    }

    fn children(&mut self, chance: &mut Chance) -> Awaited {
        let until = |chance: &mut Chance| if chance.permille(300) { Until::Succeeded } else { Until::Finished };
        let one = |chance: &mut Chance, key: &String| Awaited::Child { key: key.clone(), until: until(chance) };
        match chance.between(0, 3) {
            0 => Awaited::Children,
            1 => {
                let key = chance.pick(&self.spawned).clone();
                one(chance, &key)
            }
            2 => Awaited::all(self.spawned.iter().map(|key| one(chance, key)).collect()),
            _ => Awaited::any(self.spawned.iter().map(|key| one(chance, key)).collect()),
        }
    }
}
