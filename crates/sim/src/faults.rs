//! What goes wrong, how often: one weighted table a world, drawn from its seed.
//!
//! Each world draws its own weights, and many draw zero: a fault that is rare everywhere would hardly
//! ever meet another one.

use crate::{chance::Chance, disk::Fate, hands::Manners};
use unknot_core::Millis;

/// A thing that goes wrong at a moment of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process of the brain dies.
    Crash,
    /// Another process takes the namespace.
    Usurp,
    /// The whole process of the brain stands still for a while.
    Freeze,
    /// The wall clock is set forward, and the brain's clock with it.
    Jump,
    /// A remote worker dies and comes back under its name.
    Reboot,
    /// A remote worker can not be reached for a while.
    Partition,
}

/// How likely what is in one world.
#[derive(Clone, Debug)]
pub struct Faults {
    moments: Vec<(u64, Fault)>,
    fates: Vec<(u64, Fate)>,
    /// The mean pause between two faults.
    pause: Millis,
    /// Of a thousand effects, so many are the last before a crash.
    crash_at_effect: u64,
    /// Of a thousand messages to and from remote workers, so many are lost.
    lost: u64,
    /// Of a thousand, so many come twice.
    doubled: u64,
    /// The longest that a message takes.
    latency: Millis,
    /// The longest that a commit takes, now and then.
    slow: Millis,
    /// How workers behave.
    pub manners: Manners,
    /// Of a thousand tries to tell a target something, so many fail.
    pub deaf: u64,
    /// Whether nothing goes wrong any more.
    pub is_over: bool,
}

impl Faults {
    /// Draws a world's own mixture.
    pub fn new(chance: &mut Chance) -> Self {
        let mut some = |most: u64| if chance.permille(500) { 0 } else { chance.between(1, most) };
        let moments = vec![
            (some(8), Fault::Crash),
            (some(1), Fault::Usurp),
            (some(2), Fault::Freeze),
            (some(2), Fault::Jump),
            (some(2), Fault::Reboot),
            (some(2), Fault::Partition),
        ];
        let fates = vec![
            (1_000, Fate::Done),
            (some(100), Fate::Refused),
            (some(40), Fate::UnknownBefore),
            (some(40), Fate::UnknownAfter),
            (some(10), Fate::Violated),
        ];
        let manners = Manners {
            hangs: some(60),
            ignores: some(200),
            launch_fails: some(100),
            fails: some(300),
            drops: some(80),
            late: some(30),
            dies: some(150),
        };
        Self {
            moments,
            fates,
            pause: Millis(2_000 + some(30_000)),
            crash_at_effect: some(30),
            lost: some(100),
            doubled: some(100),
            latency: Millis(1 + some(2_000)),
            slow: Millis(1 + some(20_000)),
            manners,
            deaf: some(600),
            is_over: false,
        }
    }

    /// No faults any more: what is left must come to its end.
    pub fn stop(&mut self) {
        self.is_over = true;
        self.moments.clear();
        self.fates = vec![(1, Fate::Done)];
        (self.crash_at_effect, self.lost, self.doubled, self.deaf) = (0, 0, 0, 0);
        (self.latency, self.slow) = (Millis(20), Millis(20));
        let fails = self.manners.fails;
        self.manners = Manners { hangs: 0, ignores: 0, launch_fails: 0, drops: 0, late: 0, dies: 0, fails };
    }

    /// The next fault and the pause before it, if there are any in this world.
    pub fn next(&self, chance: &mut Chance) -> Option<(Millis, Fault)> {
        let any = self.moments.iter().any(|(weight, _)| *weight > 0);
        any.then(|| (Millis(chance.between(0, self.pause.0 * 2)), *chance.weighted(&self.moments)))
    }

    /// What becomes of the next request to the store, and how long that takes.
    pub fn fate(&self, chance: &mut Chance) -> (Fate, Millis) {
        let most = if chance.permille(20) { self.slow.0 } else { 10 };
        (*chance.weighted(&self.fates), Millis(chance.between(0, most)))
    }

    /// Whether the process dies right before it performs an effect.
    pub fn crashes_here(&self, chance: &mut Chance) -> bool {
        chance.permille(self.crash_at_effect)
    }

    /// The ways of a message over the network: after how long it arrives, once for each arrival.
    pub fn ways(&self, chance: &mut Chance) -> Vec<Millis> {
        let many = match (chance.permille(self.lost), chance.permille(self.doubled)) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        };
        (0..many).map(|_| Millis(chance.between(0, self.latency.0))).collect()
    }
}
