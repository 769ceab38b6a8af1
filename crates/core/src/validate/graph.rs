//! Who waits for whom: an order, the longest chain, and who stands before whom.
//!
//! A task comes after its needs and after every task that names it as a fallback. All passes are
//! linear and keep their own stacks: a chain of 200,000 tasks must not become 200,000 calls.

use super::Links;

/// Tasks by place, with those that each waits for and those that wait for it.
pub(super) struct Graph {
    before: Vec<Vec<u32>>,
    after: Vec<Vec<u32>>,
}

impl Graph {
    pub(super) fn new(links: &[Links]) -> Self {
        let mut graph = Self { before: vec![Vec::new(); links.len()], after: vec![Vec::new(); links.len()] };
        for (task, links) in (0u32..).zip(links) {
            for need in &links.needs {
                graph.connect(need.task.0, task);
            }
            if let Some(fallback) = links.fallback.filter(|fallback| fallback.0 != task) {
                graph.connect(task, fallback.0);
            }
        }
        graph
    }

    /// The same, where whoever waits for a signal comes after those who send it. No order of ends follows from that: a
    /// task sends while it runs.
    pub(super) fn with_senders(links: &[Links]) -> Self {
        let mut graph = Self::new(links);
        for (task, links) in (0u32..).zip(links) {
            links.senders.iter().for_each(|sender| graph.connect(sender.0, task));
        }
        graph
    }

    fn connect(&mut self, earlier: u32, later: u32) {
        self.before[later as usize].push(earlier);
        self.after[earlier as usize].push(later);
    }

    /// Whether `earlier` stands directly before `later`.
    pub(super) fn directly_before(&self, earlier: u32, later: u32) -> bool {
        self.before[later as usize].contains(&earlier)
    }

    /// All tasks so that each comes after what it waits for, or a circle of those that cannot
    /// (first and last the same; each waits for the next).
    pub(super) fn order(&self) -> Result<Vec<u32>, Vec<u32>> {
        let mut missing: Vec<usize> = self.before.iter().map(Vec::len).collect();
        let mut order: Vec<u32> =
            (0u32..).zip(&missing).filter(|&(_, &count)| count == 0).map(|(task, _)| task).collect();
        let mut next = 0;
        while let Some(&task) = order.get(next) {
            next += 1;
            for &later in &self.after[task as usize] {
                missing[later as usize] -= 1;
                if missing[later as usize] == 0 {
                    order.push(later);
                }
            }
        }
        if order.len() == self.before.len() { Ok(order) } else { Err(self.circle(&missing)) }
    }

    /// A circle among the tasks that still miss something. Each of them waits for another one of
    /// them, so a walk along such waits must come back to where it was.
    fn circle(&self, missing: &[usize]) -> Vec<u32> {
        let stuck = |task: u32| missing[task as usize] > 0;
        let mut place_in_walk: Vec<Option<usize>> = vec![None; missing.len()];
        let mut walk: Vec<u32> = Vec::new();
        let mut at = (0u32..missing.len() as u32).find(|&task| stuck(task));
        while let Some(task) = at {
            if let Some(start) = place_in_walk[task as usize] {
                let mut circle = walk.split_off(start);
                let first = (0..circle.len()).min_by_key(|&place| circle[place]).unwrap_or_default();
                circle.rotate_left(first);
                circle.push(circle[0]);
                return circle;
            }
            place_in_walk[task as usize] = Some(walk.len());
            walk.push(task);
            at = self.before[task as usize].iter().copied().find(|&earlier| stuck(earlier));
        }
        walk
    }

    /// The longest chain, first task first.
    pub(super) fn longest_chain(&self, order: &[u32]) -> Vec<u32> {
        let mut length = vec![1u32; self.before.len()];
        let mut via: Vec<Option<u32>> = vec![None; self.before.len()];
        for &task in order {
            for &earlier in &self.before[task as usize] {
                if length[earlier as usize] + 1 > length[task as usize] {
                    length[task as usize] = length[earlier as usize] + 1;
                    via[task as usize] = Some(earlier);
                }
            }
        }
        let mut chain = Vec::new();
        let mut at = (0u32..)
            .zip(&length)
            .max_by_key(|&(task, &length)| (length, std::cmp::Reverse(task)))
            .map(|(task, _)| task);
        while let Some(task) = at {
            chain.push(task);
            at = via[task as usize];
        }
        chain.reverse();
        chain
    }

    /// For up to 64 targets, which of them stand anywhere before each task: bit n is target n.
    pub(super) fn stand_before(&self, targets: &[u32], order: &[u32]) -> Vec<u64> {
        let mut own = vec![0u64; self.before.len()];
        for (bit, &target) in targets.iter().take(64).enumerate() {
            own[target as usize] |= 1 << bit;
        }
        let mut reached = vec![0u64; self.before.len()];
        for &task in order {
            let inherited = self.before[task as usize]
                .iter()
                .fold(0, |all, &earlier| all | reached[earlier as usize] | own[earlier as usize]);
            reached[task as usize] = inherited;
        }
        reached
    }
}
