//! Large graphs as a rule instead of lists.

use super::{Expr, Hold, Node, NodeState, Part, Queue, Resource, Snapshot, Until, Wait};
use serde::Deserialize;

/// A family of graphs with its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields, expecting = "a rule, as `{kind: \"convoy\", n}`")]
pub enum Generate {
    /// `t{i}` holds `L{i}` and waits for `L{i+1}`. Closed: the last waits for `L0`; open: the last runs.
    LockChain {
        /// Tasks and locks.
        n: u32,
        /// Whether it is a ring.
        closed: bool,
    },
    /// `h` runs and holds `L`; each `w{i}` waits for it.
    Convoy {
        /// Waiters.
        n: u32,
    },
    /// `p{i}` holds a unit of `P` and waits for `c{i}`. The first `spare` of these hold a unit and run, the others
    /// wait for one.
    PoolSaturation {
        /// Parents, and children.
        n: u32,
        /// Units beyond those of the parents.
        #[serde(default)]
        spare: u32,
    },
    /// `root` waits for k of `c{i}`. The first `dead` of these wait for `root`, the others run.
    FanIn {
        /// Children.
        n: u32,
        /// How many of them `root` needs.
        k: u32,
        /// How many of them wait for `root`.
        dead: u32,
    },
}

impl Generate {
    /// The largest `n`: so many waits are judged exactly.
    pub const N_MAX: u32 = 200_000;

    /// What is wrong with its sizes.
    pub(super) fn fault(self) -> Option<String> {
        let (n, within) = match self {
            Self::LockChain { n, .. } | Self::Convoy { n } => (n, None),
            Self::PoolSaturation { n, spare } => (n, Some(("spare", spare))),
            Self::FanIn { n, dead, .. } => (n, Some(("dead", dead))),
        };
        match within {
            _ if n == 0 || n > Self::N_MAX => Some(format!("`n` is {n}; it may be 1 to {}", Self::N_MAX)),
            Some((key, value)) if value > n => Some(format!("`{key}` is {value}, more than `n`")),
            _ => None,
        }
    }

    /// The graph. `n` is at most [`Generate::N_MAX`].
    pub fn snapshot(self) -> Snapshot {
        match self {
            Self::LockChain { n, closed } => lock_chain(n, closed),
            Self::Convoy { n } => convoy(n),
            Self::PoolSaturation { n, spare } => pool_saturation(n, spare),
            Self::FanIn { n, k, dead } => fan_in(n, k, dead),
        }
    }
}

fn node(id: String, waits: bool) -> Node {
    let state = if waits { NodeState::Waiting } else { NodeState::Running };
    Node { id, label: None, state, generation: 0, cost: None, version: 0 }
}

fn resource(id: String, units: u32, queue: Queue) -> Resource {
    Resource { id, label: None, units: units.into(), queue }
}

fn hold(node: String, resource: String) -> Hold {
    Hold { node, resource, units: 1, generation: None, leaked: false }
}

fn wait(node: String, expr: Expr) -> Wait {
    Wait { node, expr, since: None, deadline_s: None }
}

fn unit_of(resource: String) -> Expr {
    Expr::all(vec![Part::Resource { resource, units: 1 }])
}

fn end_of(node: String) -> Part {
    Part::Node { node, until: Until::Terminal }
}

fn lock_chain(n: u32, closed: bool) -> Snapshot {
    let waits = |i: u32| closed || i + 1 < n;
    Snapshot {
        nodes: (0..n).map(|i| node(format!("t{i}"), waits(i))).collect(),
        resources: (0..n).map(|i| resource(format!("L{i}"), 1, Queue::Any)).collect(),
        consumables: Vec::new(),
        holds: (0..n).map(|i| hold(format!("t{i}"), format!("L{i}"))).collect(),
        waits: (0..n)
            .filter(|i| waits(*i))
            .map(|i| wait(format!("t{i}"), unit_of(format!("L{}", (i + 1) % n))))
            .collect(),
    }
}

fn convoy(n: u32) -> Snapshot {
    let waiters = (0..n).map(|i| node(format!("w{i}"), true));
    Snapshot {
        nodes: std::iter::once(node("h".to_owned(), false)).chain(waiters).collect(),
        resources: vec![resource("L".to_owned(), 1, Queue::Fifo)],
        consumables: Vec::new(),
        holds: vec![hold("h".to_owned(), "L".to_owned())],
        waits: (0..n).map(|i| wait(format!("w{i}"), unit_of("L".to_owned()))).collect(),
    }
}

fn pool_saturation(n: u32, spare: u32) -> Snapshot {
    let pool = || "P".to_owned();
    let parent = |i: u32| wait(format!("p{i}"), Expr::all(vec![end_of(format!("c{i}"))]));
    let child = |i: u32| wait(format!("c{i}"), unit_of(pool()));
    let holders = (0..n).map(|i| format!("p{i}")).chain((0..spare).map(|i| format!("c{i}")));
    Snapshot {
        nodes: (0..n).flat_map(|i| [node(format!("p{i}"), true), node(format!("c{i}"), i >= spare)]).collect(),
        resources: vec![resource(pool(), n + spare, Queue::Fifo)],
        consumables: Vec::new(),
        holds: holders.map(|holder| hold(holder, pool())).collect(),
        waits: (0..n).map(parent).chain((spare..n).map(child)).collect(),
    }
}

fn fan_in(n: u32, k: u32, dead: u32) -> Snapshot {
    let root = || "root".to_owned();
    let children = (0..n).map(|i| node(format!("c{i}"), i < dead));
    let all = (0..n).map(|i| end_of(format!("c{i}"))).collect();
    let joins = wait(root(), Expr::at_least(k as usize, all));
    let waits_for_root = |i: u32| wait(format!("c{i}"), Expr::all(vec![end_of(root())]));
    Snapshot {
        nodes: std::iter::once(node(root(), true)).chain(children).collect(),
        resources: Vec::new(),
        consumables: Vec::new(),
        holds: Vec::new(),
        waits: std::iter::once(joins).chain((0..dead).map(waits_for_root)).collect(),
    }
}
