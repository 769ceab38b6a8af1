//! What must be true of a detector after every change.

use super::{Detector, NodeKey, ResourceKey, summed, term::Weighed};

impl Detector {
    /// Asserts that every live node has a reason, that no dead one has, and that units add up. Visits everything: for
    /// tests, simulations and audits.
    ///
    /// # Panics
    /// If that is not so, which is a bug.
    pub fn check(&self) {
        let keys = (0..self.nodes.len() as u32).map(NodeKey).filter(|key| self.nodes[key.0 as usize].is_some());
        for key in keys.clone().filter(|key| self.at(*key).waits) {
            let is_live = self.live.has(key);
            assert!(self.node(key).wait.is_some(), "{key:?} waits for something");
            assert_eq!(is_live, !self.at(key).is_condemned, "{key:?} is live or dead");
            match self.weigh(key) {
                Weighed::Holds(floor) => assert!(is_live && floor <= self.at(key).rank, "{key:?} from {floor} on"),
                Weighed::Lacks(lacks) => {
                    assert!(!is_live && self.at(key).owed as usize <= lacks, "{key:?} lacks {lacks}")
                }
            }
        }
        assert_eq!(self.dead, self.deadlocked().count(), "the dead are counted");
        for number in 0..self.resources.len() as u32 {
            let Some(known) = &self.resources[number as usize] else { continue };
            let (mut sure, mut live) = (known.units, known.units);
            for key in keys.clone().filter(|key| self.at(*key).waits) {
                let (node, standing) = (self.node(key), self.at(key));
                for (_, units) in node.holds.iter().filter(|(held, _)| *held == ResourceKey(number)) {
                    sure -= summed(units);
                    live -= if self.live.has(key) { 0 } else { summed(units) };
                    assert_eq!(
                        known.holders.iter().any(|(of, _)| of == (standing.rank, key)),
                        self.live.has(key),
                        "{key:?} is listed if live"
                    );
                }
            }
            assert_eq!((known.sure, known.live), (sure, live), "units of resource {number}");
            known.waiters.check(|key| self.live.has(key).then(|| self.at(key).rank));
        }
    }
}
