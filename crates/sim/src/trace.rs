//! What happened in a world, line by line, and a hash over all of it.

use std::collections::VecDeque;

/// Which lines are kept beside the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The last few: what a failure shows.
    Tail,
    /// Every one: a replay.
    All,
}

/// Lines of a tail.
const TAIL: usize = 40;

/// The lines of one world.
#[derive(Debug)]
pub struct Trace {
    keep: Keep,
    lines: VecDeque<String>,
    hash: u64,
}

impl Trace {
    /// An empty trace.
    pub fn new(keep: Keep) -> Self {
        Self { keep, lines: VecDeque::new(), hash: 0xcbf2_9ce4_8422_2325 }
    }

    /// Adds a line. Equal worlds add equal lines, so their hashes are equal.
    pub fn line(&mut self, line: String) {
        for byte in line.bytes() {
            // FNV-1a: short, and enough to tell two traces apart.
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.keep == Keep::Tail && self.lines.len() == TAIL {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// A hash over all lines so far.
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines kept.
    pub fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}
