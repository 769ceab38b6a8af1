//! Measures the verdict of each step with up to 100,000 live waits, in every shape that is hard for some algorithm.
//!
//! `cargo xtask bench waits` builds and runs it, a shape after its name runs that one alone; each line of its output is one measurement as JSON. A step is a new wait,
//! from the call to its answer; the step that condemns is told apart, with how many it condemned.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock from outside")]

use std::time::{Duration, Instant};
use unknot_core::wait::{
    Queue, Until,
    detector::{Change, Detector, Need, NodeKey, Place, ResourceKey},
};

/// Live waits of each shape.
const N: usize = 100_000;
/// Steps of a shape that stays as large as it is.
const CHURN: usize = 20_000;
/// How often the step that condemns is measured: nothing else is so easily disturbed.
const ROUNDS: usize = 9;
/// Nodes that each node of a dense graph waits for.
const DENSITY: usize = 4;

fn main() {
    let asked = std::env::args().nth(1);
    let wants = |shape: &str| asked.as_deref().is_none_or(|asked| asked == shape);
    if wants("convoy") {
        convoy();
    }
    if wants("pool") {
        pool();
    }
    for (order, numbers) in orders() {
        if wants("chain") {
            chain(order, &numbers);
        }
        if wants("dense") {
            dense(order, &numbers);
        }
    }
    if wants("fan-in") {
        fan_in();
    }
}

/// Steps of one shape.
#[derive(Default)]
struct Steps {
    taken: Vec<Duration>,
    condemning: Vec<(Duration, usize)>,
}

impl Steps {
    fn time(&mut self, step: impl FnOnce() -> Change) {
        let start = Instant::now();
        let change = step();
        let taken = start.elapsed();
        match change.condemned.len() {
            0 => self.taken.push(taken),
            condemned => self.condemning.push((taken, condemned)),
        }
    }

    /// Prints and forgets what was taken.
    fn say(&mut self, shape: &str, what: &str) {
        let (ms, us) =
            (|taken: Duration| taken.as_secs_f64() * 1_000.0, |taken: Duration| taken.as_secs_f64() * 1_000_000.0);
        self.taken.sort();
        if let Some(longest) = self.taken.last() {
            let at = |part: f64| us(self.taken[((self.taken.len() - 1) as f64 * part) as usize]);
            println!(
                r#"{{"what": "{shape}", "unit": "p99_us", "value": {}, "with": {{"shape": "{what}", "steps": {}, "p50_us": {}, "longest_us": {}}}}}"#,
                at(0.99),
                self.taken.len(),
                at(0.5),
                us(*longest)
            );
        }
        self.condemning.sort();
        if let [(shortest, condemned), ..] = self.condemning[..] {
            let (middle, rounds) = (self.condemning[self.condemning.len() / 2].0, self.condemning.len());
            let goal_ms = 1.0 + condemned as f64 / 10_000.0;
            println!(
                r#"{{"what": "{shape}", "unit": "ms", "value": {}, "with": {{"shape": "the step that condemns, {what}", "condemned": {condemned}, "goal_ms": {goal_ms}, "shortest_ms": {}, "rounds": {rounds}}}}}"#,
                ms(middle),
                ms(shortest)
            );
        }
        *self = Self::default();
    }
}

/// A generator whose whole state is a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

fn orders() -> [(&'static str, Vec<usize>); 3] {
    let rising: Vec<usize> = (0..N).collect();
    let mut random = Random(3);
    let mut mixed = rising.clone();
    (1..N).rev().for_each(|place| mixed.swap(place, random.below(place + 1)));
    [("front to back", rising.clone()), ("back to front", rising.into_iter().rev().collect()), ("by chance", mixed)]
}

struct Graph {
    detector: Detector,
    next: u64,
}

impl Graph {
    fn new() -> Self {
        Self { detector: Detector::default(), next: 0 }
    }

    fn nodes(&mut self, count: usize) -> Vec<NodeKey> {
        (0..count).map(|_| self.detector.add_node()).collect()
    }

    fn holds(&mut self, node: NodeKey, resource: ResourceKey) {
        let change = self.detector.hold(node, resource, 1);
        assert_eq!(change, Change::default());
    }

    /// The wait that condemns, once more and once more.
    fn close_again(&mut self, steps: &mut Steps, node: NodeKey, need: &Need) {
        for _ in 1..ROUNDS {
            self.detector.resume(node);
            self.wait(steps, node, need);
        }
    }

    fn wait(&mut self, steps: &mut Steps, node: NodeKey, need: &Need) {
        self.next += 1;
        let place = Place(self.next);
        steps.time(|| self.detector.wait(node, need, place));
    }
}

/// All wait for one lock; then it goes from hand to hand.
fn convoy() {
    let (mut graph, mut steps) = (Graph::new(), Steps::default());
    let lock = graph.detector.add_resource(1, Queue::Fifo);
    let nodes = graph.nodes(N + 1);
    graph.holds(nodes[0], lock);
    for node in &nodes[1..] {
        graph.wait(&mut steps, *node, &Need::Units(lock, 1));
    }
    steps.say("convoy", "each new wait");
    for pair in nodes[..=CHURN].windows(2) {
        steps.time(|| {
            graph.detector.release(pair[0], lock, 1);
            let change = graph.detector.resume(pair[1]);
            change.then(graph.detector.hold(pair[1], lock, 1))
        });
        graph.wait(&mut Steps::default(), pair[0], &Need::Units(lock, 1));
    }
    steps.say("convoy", "each hand-over");
}

/// Each holds a lock and waits for the next one's; the last step makes a ring of it.
fn chain(order: &str, numbers: &[usize]) {
    let (mut graph, mut steps) = (Graph::new(), Steps::default());
    let locks: Vec<ResourceKey> = numbers.iter().map(|_| graph.detector.add_resource(1, Queue::Fifo)).collect();
    let nodes = graph.nodes(N);
    for (node, lock) in nodes.iter().zip(&locks) {
        graph.holds(*node, *lock);
    }
    for i in numbers {
        graph.wait(&mut steps, nodes[*i], &Need::Units(locks[(i + 1) % N], 1));
    }
    let last = numbers[N - 1];
    graph.close_again(&mut steps, nodes[last], &Need::Units(locks[(last + 1) % N], 1));
    steps.say("chain and ring", order);
}

/// Parents fill a pool, and each waits for a child that needs a place in it.
fn pool() {
    let (mut graph, mut steps) = (Graph::new(), Steps::default());
    let pool = graph.detector.add_resource(N as u64 / 2, Queue::Fifo);
    let parents = graph.nodes(N / 2);
    parents.iter().for_each(|parent| graph.holds(*parent, pool));
    for parent in parents {
        let child = graph.detector.add_node();
        graph.wait(&mut steps, child, &Need::Units(pool, 1));
        let end = Need::Node(child, Until::Terminal);
        graph.wait(&mut steps, parent, &end);
        if !steps.condemning.is_empty() {
            graph.close_again(&mut steps, parent, &end);
        }
    }
    steps.say("saturated pool", "each new wait");
}

/// Each waits for all of several others, none of which leads back to it.
fn dense(order: &str, numbers: &[usize]) {
    let (mut graph, mut steps) = (Graph::new(), Steps::default());
    let nodes = graph.nodes(N + 1);
    let mut random = Random(5);
    let mut need = |i: usize| {
        let mut later = || Need::Node(nodes[i + 1 + random.below(N - i)], Until::Terminal);
        Need::all((0..DENSITY).map(|_| later()).collect())
    };
    for i in numbers {
        let need = need(*i);
        graph.wait(&mut steps, nodes[*i], &need);
    }
    steps.say("dense, all of 4", order);
    let mut which = Random(7);
    for _ in 0..CHURN {
        let i = which.below(N);
        let need = need(i);
        graph.wait(&mut steps, nodes[i], &need);
    }
    steps.say("dense, all of 4", &format!("{order}, then new waits of any"));
    let newcomers = graph.nodes(CHURN);
    for newcomer in newcomers {
        let need = Need::all((0..DENSITY).map(|_| Need::Node(nodes[which.below(N)], Until::Terminal)).collect());
        graph.wait(&mut steps, newcomer, &need);
    }
    steps.say("dense, all of 4", "new waits on which nobody depends");
    let back = Need::all(nodes[..DENSITY].iter().map(|node| Need::Node(*node, Until::Terminal)).collect());
    graph.wait(&mut steps, nodes[N], &back);
    graph.close_again(&mut steps, nodes[N], &back);
    steps.say("dense, all of 4", order);
}

/// One waits for half of all others; these begin to wait for locks, one by one.
fn fan_in() {
    let (mut graph, mut steps) = (Graph::new(), Steps::default());
    let nodes = graph.nodes(N);
    let (root, holder) = (graph.detector.add_node(), graph.detector.add_node());
    let lock = graph.detector.add_resource(1, Queue::Any);
    graph.holds(holder, lock);
    let children = nodes.iter().map(|node| Need::Node(*node, Until::Terminal)).collect();
    graph.wait(&mut steps, root, &Need::AtLeast(N / 2, children));
    steps.say("fan-in", "the root's wait");
    for node in nodes {
        graph.wait(&mut steps, node, &Need::Units(lock, 1));
    }
    steps.say("fan-in", "each child's wait");
}
