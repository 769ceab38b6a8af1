//! The price of ending a node early.

use super::{Expr, Hold, NodeState, Part, Snapshot, snapshot::LENT};
use crate::Millis;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Whole seconds of lost work that are told apart: a little over 24 days.
const WORK_LOST_S_MAX: u64 = (1 << 21) - 1;
/// How often a node was chosen before, as far as it is told apart.
const TIMES_CHOSEN_MAX: u32 = 7;
/// Half of the range of ages is below it; ages beyond are told apart less and less finely.
const AGE_S_MIDDLE: f64 = 3_600.0;

/// What ending a node early costs. What stands first decides; what stands later decides among equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Price {
    /// Zero is the lowest: it is ended first.
    pub priority: u8,
    /// How long its attempt has worked, in whole seconds.
    pub work_lost: Millis,
    /// How often it was a victim before: who was chosen often is spared, so that nobody is chosen for ever.
    pub times_chosen: u32,
    /// How long it has been there: the youngest goes first, so that the oldest gets through.
    pub age: Millis,
}

impl Price {
    /// One number in the same order, as `cost` in the exchange format: whoever judges a snapshot chooses as the brain does.
    pub fn cost(self) -> f64 {
        let work_lost_s = (self.work_lost.0 / 1_000).min(WORK_LOST_S_MAX);
        let seconds = u64::from(self.priority) * (WORK_LOST_S_MAX + 1) + work_lost_s;
        let whole = seconds * u64::from(TIMES_CHOSEN_MAX + 1) + u64::from(self.times_chosen.min(TIMES_CHOSEN_MAX));
        let age_s = self.age.0 as f64 / 1_000.0;
        whole as f64 + age_s / (age_s + AGE_S_MIDDLE)
    }
}

/// Added to the price of an attempt that would come back to the same wait and has let nobody go on meanwhile.
const GIVES_NOTHING: f64 = 1e9;

/// Makes it dearer to end those who wait and hold nothing that anybody else waits for: an attempt that is made again
/// waits again, and all that others get of it is what it held. What is lent to it comes from whoever waits for it.
pub(super) fn spare_who_gives_nothing(graph: &mut Snapshot) {
    let mut wanted: BTreeMap<&str, Wanted<'_>> = BTreeMap::new();
    for wait in &graph.waits {
        want(&wait.expr, &wait.node, &mut wanted);
    }
    let is_wanted = |hold: &&Hold| match wanted.get(&*hold.resource) {
        Some(Wanted::ByOne(node)) => *node != hold.node,
        Some(Wanted::ByMany) => true,
        None => false,
    };
    let own = graph.holds.iter().filter(|hold| !hold.resource.starts_with(LENT));
    let give: BTreeSet<String> = own.filter(is_wanted).map(|hold| hold.node.clone()).collect();
    let waiting = graph.nodes.iter_mut().filter(|node| node.state == NodeState::Waiting && !give.contains(&node.id));
    for node in waiting {
        node.cost = node.cost.map(|cost| cost + GIVES_NOTHING);
    }
}

/// Who waits for a resource.
enum Wanted<'g> {
    ByOne(&'g str),
    ByMany,
}

fn want<'g>(expr: &'g Expr, node: &'g str, wanted: &mut BTreeMap<&'g str, Wanted<'g>>) {
    for part in &expr.of {
        match part {
            Part::Expr(expr) => want(expr, node, wanted),
            Part::Resource { resource, .. } => {
                let by = wanted.entry(resource).or_insert(Wanted::ByOne(node));
                if matches!(by, Wanted::ByOne(other) if *other != node) {
                    *by = Wanted::ByMany;
                }
            }
            Part::Node { .. } | Part::Consumable { .. } | Part::Timer { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_first_decides() {
        let price = |priority, work_lost_s, times_chosen, age_s| Price {
            priority,
            work_lost: Millis::from_secs(work_lost_s),
            times_chosen,
            age: Millis::from_secs(age_s),
        };
        let week_s = 7 * 86_400;
        let ascending = [
            price(0, 0, 0, 1),
            price(0, 0, 0, 2),
            price(0, 0, 0, 4 * week_s),
            price(0, 0, 1, 0),
            price(0, 1, 0, 0),
            price(0, week_s, 5, week_s),
            price(0, week_s + 1, 0, 0),
            price(1, 0, 0, 0),
            price(2, 0, 0, 0),
        ];
        for pair in ascending.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].cost() < pair[1].cost(), "{pair:?}");
        }
    }
}
