//! What a node waits for, as the detector keeps it: terms under gates that count them.

use super::{ConsumableKey, Need, NodeKey, Place, ResourceKey};
use crate::wait::{Expr, Part, Until};
use std::ops::{Deref, DerefMut};

/// One wait.
#[derive(Clone, Debug)]
pub(super) struct Wait {
    pub(super) place: Place,
    pub(super) terms: Terms,
    /// The outer before the inner; the first is the whole. None where every term is needed.
    gates: Vec<Gate>,
    /// Whether every term is needed.
    pub(super) needs_all: bool,
}

/// The terms of a wait. One is by far the most usual, and then stands with its node.
#[derive(Clone, Debug)]
pub(super) enum Terms {
    None,
    One(Term),
    Many(Vec<Term>),
}

impl Terms {
    fn push(&mut self, term: Term) {
        match self {
            Self::None => *self = Self::One(term),
            Self::One(first) => *self = Self::Many(vec![*first, term]),
            Self::Many(terms) => terms.push(term),
        }
    }
}

impl Deref for Terms {
    type Target = [Term];

    fn deref(&self) -> &[Term] {
        match self {
            Self::None => &[],
            Self::One(term) => std::slice::from_ref(term),
            Self::Many(terms) => terms,
        }
    }
}

impl DerefMut for Terms {
    fn deref_mut(&mut self) -> &mut [Term] {
        match self {
            Self::None => &mut [],
            Self::One(term) => std::slice::from_mut(term),
            Self::Many(terms) => terms,
        }
    }
}

/// One condition, and the gate that counts it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    pub(super) want: Want,
    gate: u32,
}

/// What makes a term hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Units(ResourceKey, u64),
    Node(NodeKey, Until),
    Sent(ConsumableKey),
    Holds,
    Never,
}

#[derive(Clone, Copy, Debug)]
struct Gate {
    needed: usize,
    parts: usize,
    parent: u32,
}

impl Gate {
    fn expr(&self, parts: Vec<Part>) -> Expr {
        match self.needed {
            all if all == parts.len() => Expr::all(parts),
            1 => Expr::any(parts),
            some => Expr::at_least(some, parts),
        }
    }
}

/// Whether an expression holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weighed {
    /// It does, for a node of this rank or a higher one; the lowest number if it holds for any.
    Holds(i64),
    /// It does not: no fewer than so many more terms have to hold.
    Lacks(usize),
}

/// More than any number of terms.
const NEVER: usize = usize::MAX >> 1;

impl Wait {
    pub(super) fn new(need: &Need, place: Place) -> Self {
        let mut wait = Self { place, terms: Terms::None, gates: Vec::new(), needs_all: true };
        match need {
            Need::AtLeast(needed, parts) => wait.add_gate(*needed, parts, 0),
            single => wait.add_gate(1, std::slice::from_ref(single), 0),
        }
        wait.needs_all = wait.gates.iter().all(|gate| gate.needed == gate.parts);
        if wait.needs_all {
            wait.gates = Vec::new();
        }
        wait
    }

    fn add_gate(&mut self, needed: usize, parts: &[Need], parent: u32) {
        let gate = self.gates.len() as u32;
        self.gates.push(Gate { needed, parts: parts.len(), parent });
        for part in parts {
            let want = match part {
                Need::AtLeast(needed, parts) => {
                    self.add_gate(*needed, parts, gate);
                    continue;
                }
                Need::Units(resource, units) => Want::Units(*resource, *units),
                Need::Node(node, until) => Want::Node(*node, *until),
                Need::Sent(consumable) => Want::Sent(*consumable),
                Need::Holds => Want::Holds,
                Need::Never => Want::Never,
            };
            self.terms.push(Term { want, gate });
        }
    }

    /// The whole in the exchange format, with `part` for each term by its number.
    pub(super) fn expr(&self, mut part: impl FnMut(usize, Want) -> Part) -> Expr {
        let terms = self.terms.iter().enumerate().map(|(number, term)| (term.gate as usize, part(number, term.want)));
        if self.needs_all {
            return Expr::all(terms.map(|(_, part)| part).collect());
        }
        let mut parts: Vec<Vec<Part>> = self.gates.iter().map(|_| Vec::new()).collect();
        terms.for_each(|(gate, part)| parts[gate].push(part));
        for (place, gate) in self.gates.iter().enumerate().skip(1).rev() {
            let inner = gate.expr(std::mem::take(&mut parts[place]));
            parts[gate.parent as usize].push(Part::Expr(inner));
        }
        self.gates[0].expr(std::mem::take(&mut parts[0]))
    }

    /// Weighs the whole by the least rank for which each term holds; none: it does not.
    pub(super) fn weigh(&self, mut level: impl FnMut(Want) -> Option<i64>) -> Weighed {
        if self.needs_all {
            let (mut floor, mut lacks) = (i64::MIN, 0);
            for term in self.terms.iter() {
                match level(term.want) {
                    Some(level) => floor = floor.max(level),
                    None => lacks += 1,
                }
            }
            return if lacks == 0 { Weighed::Holds(floor) } else { Weighed::Lacks(lacks) };
        }
        let mut parts: Vec<Vec<Weighed>> = vec![Vec::new(); self.gates.len()];
        for term in self.terms.iter() {
            let weighed = level(term.want).map_or(Weighed::Lacks(1), Weighed::Holds);
            parts[term.gate as usize].push(weighed);
        }
        for place in (1..self.gates.len()).rev() {
            let weighed = weigh_gate(self.gates[place].needed, &parts[place]);
            parts[self.gates[place].parent as usize].push(weighed);
        }
        weigh_gate(self.gates[0].needed, &parts[0])
    }
}

fn weigh_gate(needed: usize, parts: &[Weighed]) -> Weighed {
    let (mut floors, mut lacks) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Weighed::Holds(floor) => floors.push(*floor),
            Weighed::Lacks(lack) => lacks.push(*lack),
        }
    }
    if needed == 0 {
        return Weighed::Holds(i64::MIN);
    }
    if let Some(missing) = needed.checked_sub(floors.len()).filter(|missing| *missing > 0) {
        if missing > lacks.len() {
            return Weighed::Lacks(NEVER);
        }
        lacks.sort_unstable();
        return Weighed::Lacks(lacks[..missing].iter().fold(0, |sum, lack| sum.saturating_add(*lack).min(NEVER)));
    }
    let (_, floor, _) = floors.select_nth_unstable(needed - 1);
    Weighed::Holds(*floor)
}
