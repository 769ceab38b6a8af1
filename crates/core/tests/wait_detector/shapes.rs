//! Large shapes, built wait by wait in several orders: who is dead is known beforehand.

use crate::chance::Random;
use unknot_core::wait::{
    Queue, Until,
    detector::{Change, Detector, Effort, End, Need, NodeKey, Place},
};

const N: u32 = 600;

/// Numbers from 0 on in an order: rising, falling, or by chance.
fn orders() -> Vec<Vec<u32>> {
    let rising: Vec<u32> = (0..N).collect();
    let mut random = Random(3);
    let mut mixed = rising.clone();
    (1..mixed.len()).rev().for_each(|place| mixed.swap(place, random.below(place + 1)));
    vec![rising.clone(), rising.into_iter().rev().collect(), mixed]
}

#[test]
fn a_ring_dies_with_its_last_wait_and_comes_back_with_the_first_end() {
    for order in orders() {
        let mut detector = Detector::default();
        let locks: Vec<_> = (0..N).map(|_| detector.add_resource(1, Queue::Fifo)).collect();
        let nodes: Vec<NodeKey> = (0..N).map(|_| detector.add_node()).collect();
        for i in 0..N as usize {
            assert_eq!(detector.hold(nodes[i], locks[i], 1).condemned, []);
        }
        for (step, i) in order.iter().map(|i| *i as usize).enumerate() {
            let need = Need::Units(locks[(i + 1) % locks.len()], 1);
            let change = detector.wait(nodes[i], &need, Place(step as u64));
            assert_eq!(change.condemned.len(), if step + 1 == N as usize { N as usize } else { 0 }, "step {step}");
        }
        detector.check();
        let change = detector.end(nodes[7], End::Bad);
        assert_eq!(change.revived.len(), N as usize - 1);
        detector.check();
    }
}

#[test]
fn a_full_pool_dies_with_the_last_parent_that_waits() {
    for order in orders() {
        let mut detector = Detector::default();
        let pool = detector.add_resource(N.into(), Queue::Fifo);
        let parents: Vec<NodeKey> = (0..N).map(|_| detector.add_node()).collect();
        parents.iter().for_each(|parent| assert_eq!(detector.hold(*parent, pool, 1).condemned, []));
        let mut condemned = Vec::new();
        for (step, i) in order.iter().enumerate() {
            assert_eq!(condemned, [], "step {step}");
            let child = detector.add_node();
            assert_eq!(detector.wait(child, &Need::Units(pool, 1), Place(step as u64)).condemned, []);
            let place = Place(u64::from(N) + step as u64);
            condemned = detector.wait(parents[*i as usize], &Need::Node(child, Until::Terminal), place).condemned;
        }
        assert_eq!(condemned.len(), 2 * N as usize);
        detector.check();
        // One place more frees them all.
        assert_eq!(detector.resize(pool, u64::from(N) + 1).revived.len(), 2 * N as usize);
        detector.check();
    }
}

#[test]
fn a_dense_graph_without_a_ring_stays_alive_and_one_wait_kills_what_leads_to_it() {
    for order in orders() {
        let mut random = Random(11);
        let mut detector = Detector::default();
        let nodes: Vec<NodeKey> = (0..=N).map(|_| detector.add_node()).collect();
        for (step, i) in order.iter().enumerate() {
            let mut parts = vec![Need::Node(nodes[*i as usize + 1], Until::Terminal)];
            for _ in 0..3 {
                let further = *i as usize + 1 + random.below((N - i) as usize);
                parts.push(Need::Node(nodes[further], Until::Terminal));
            }
            let change = detector.wait(nodes[*i as usize], &Need::all(parts), Place(step as u64));
            assert_eq!(change.condemned, [], "step {step}");
        }
        detector.check();
        let last = nodes[N as usize];
        let change = detector.wait(last, &Need::Node(nodes[0], Until::Terminal), Place(u64::from(N)));
        assert_eq!(change.condemned.len(), N as usize + 1);
        detector.check();
    }
}

#[test]
fn a_convoy_dies_only_behind_a_dead_holder() {
    let mut detector = Detector::default();
    let (lock, other) = (detector.add_resource(1, Queue::Fifo), detector.add_resource(1, Queue::Any));
    let holder = detector.add_node();
    detector.hold(holder, lock, 1);
    let convoy: Vec<NodeKey> = (0..N).map(|_| detector.add_node()).collect();
    for (place, node) in convoy.iter().enumerate() {
        assert_eq!(detector.wait(*node, &Need::Units(lock, 1), Place(place as u64)).condemned, []);
    }
    let rival = detector.add_node();
    detector.hold(rival, other, 1);
    assert_eq!(detector.wait(rival, &Need::Units(lock, 1), Place(u64::from(N))).condemned, []);
    // Whoever waits for something that comes anyway is no part of it.
    let free = detector.add_node();
    let either = Need::any(vec![Need::Units(lock, 1), Need::Holds]);
    assert_eq!(detector.wait(free, &either, Place(u64::from(N) + 1)).condemned, []);
    let change = detector.wait(holder, &Need::Units(other, 1), Place(u64::from(N) + 2));
    assert_eq!(change.condemned.len(), N as usize + 2);
    assert!(!detector.is_deadlocked(free));
    detector.check();
    assert_eq!(detector.resume(rival).revived.len(), N as usize + 1);
}

#[test]
fn who_waits_for_the_same_twice_comes_back_at_once() {
    let mut detector = Detector::default();
    let (pool, lock) = (detector.add_resource(1, Queue::Any), detector.add_resource(1, Queue::Fifo));
    let [first, second, waiter] = [(); 3].map(|()| detector.add_node());
    detector.hold(first, pool, 1);
    detector.hold(second, lock, 1);
    detector.wait(first, &Need::Units(lock, 1), Place(1));
    assert_eq!(detector.wait(second, &Need::Units(pool, 1), Place(2)).condemned, [first, second]);
    let twice = Need::all(vec![Need::Units(pool, 1), Need::Units(pool, 1)]);
    assert_eq!(detector.wait(waiter, &twice, Place(3)).condemned, [waiter]);
    assert_eq!(detector.resume(second).revived, [first, waiter]);
    detector.check();
}

#[test]
fn a_ring_through_a_line_is_seen_after_a_dead_one_has_left_it() {
    // A walk would find another reason for the big one.
    let mut detector = Detector::new(Effort { walk_max: 0, ..Effort::default() });
    let line = detector.add_resource(2, Queue::Fifo);
    let [stuck, worker, second, helper, big, leaving, easy, last] = [(); 8].map(|()| detector.add_node());
    detector.hold(stuck, line, 1);
    detector.wait(stuck, &Need::Never, Place(1));
    let end_of = |node| Need::Node(node, Until::Terminal);
    detector.wait(second, &end_of(worker), Place(2));
    detector.wait(helper, &end_of(second), Place(3));
    assert_eq!(
        detector.wait(leaving, &Need::all(vec![Need::Units(line, 1), Need::Never]), Place(20)).condemned,
        [leaving]
    );
    detector.wait(easy, &Need::any(vec![Need::Units(line, 1), Need::Holds]), Place(30));
    assert_eq!(detector.wait(last, &Need::Units(line, 1), Place(40)).condemned, [last]);
    let either = Need::any(vec![Need::Units(line, 2), end_of(helper)]);
    assert_eq!(detector.wait(big, &either, Place(10)), Change::default());
    // The big one went before all of these, and is all that the last one depends on.
    assert_eq!(detector.resume(leaving).revived, [last]);
    detector.check();
    assert_eq!(detector.wait(helper, &end_of(last), Place(50)).condemned, [helper, big, last]);
    detector.check();
}
