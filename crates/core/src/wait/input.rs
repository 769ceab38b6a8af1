//! Reading the exchange format from outside: whatever is given, a graph comes back or a sentence about what is wrong.

use super::{Consumable, Expr, Generate, Hold, Mode, Node, Part, Resource, Snapshot, Wait, graph::each_term};
use crate::validate::nearest;
use serde::{Deserialize, de::IgnoredAny};
use std::collections::{BTreeMap, BTreeSet};

/// Entries of one list; beyond it the answer would keep a person waiting.
const ENTRIES_MAX: usize = 1_000_000;

/// What can be judged.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// One consistent read of a system.
    One(Snapshot),
    /// Two reads without a consistent cut: the second was begun after the first had ended.
    Two(Box<[Snapshot; 2]>),
}

/// Why a text is no wait graph.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It is not JSON, or not of the form; the message has line and column.
    #[error("{0}")]
    Form(#[from] serde_json::Error),
    /// It has the form and makes no sense.
    #[error("{path}: {message}")]
    Meaning {
        /// Where, as `waits[3].expr`.
        path: String,
        /// What is wrong there.
        message: String,
    },
}

/// What a file says, before anybody asks whether it makes sense: all keys that it may have; those of other tools are
/// passed over.
#[derive(Deserialize)]
#[serde(expecting = "a wait graph, from `{` to `}`")]
pub struct Form {
    nodes: Option<Vec<Node>>,
    #[serde(default)]
    resources: Vec<Resource>,
    #[serde(default)]
    consumables: Vec<Consumable>,
    #[serde(default)]
    holds: Vec<Hold>,
    #[serde(default)]
    waits: Vec<Wait>,
    generate: Option<Generate>,
    snapshots: Option<Vec<Form>>,
    scenarios: Option<IgnoredAny>,
}

impl Form {
    /// One of two reads.
    fn read(self, at: &str) -> Result<Snapshot, Fault> {
        let Self { nodes, resources, consumables, holds, waits, generate, snapshots, .. } = self;
        let fault =
            |key: &str, message: &str| Fault::Meaning { path: format!("{at}{key}"), message: message.to_owned() };
        match (nodes, generate, snapshots) {
            (Some(nodes), None, None) => {
                let snapshot = Snapshot { nodes, resources, consumables, holds, waits };
                Check { at, snapshot: &snapshot }.whole()?;
                Ok(snapshot)
            }
            (None, None, None) => Err(fault("nodes", "it is missing: a wait graph has at least `nodes`")),
            _ => Err(fault("nodes", "a read is a graph of its own: `nodes`, and neither `generate` nor `snapshots`")),
        }
    }
}

impl Input {
    /// Reads JSON.
    ///
    /// # Errors
    /// If it is no wait graph: not JSON, a key of a wrong kind, a name that nothing has, an id that is there twice, or
    /// more than a million entries in a list.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let fault = |path: &str, message: String| Fault::Meaning { path: path.to_owned(), message };
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte != b'{') {
            return Err(fault("line 1", "a wait graph is a JSON object, from `{` to `}`".to_owned()));
        }
        let form: Form = serde_json::from_slice(bytes)?;
        let Form { nodes, resources, consumables, holds, waits, generate, snapshots, scenarios } = form;
        match (nodes, generate, snapshots) {
            (Some(nodes), None, None) => {
                let snapshot = Snapshot { nodes, resources, consumables, holds, waits };
                Check { at: "", snapshot: &snapshot }.whole()?;
                Ok(Self::One(snapshot))
            }
            (None, Some(rule), None) => match rule.fault() {
                None => Ok(Self::One(rule.snapshot())),
                Some(message) => Err(fault("generate", message)),
            },
            (None, None, Some(reads)) => {
                let count = reads.len();
                let two = <[Form; 2]>::try_from(reads);
                let [first, second] =
                    two.map_err(|_| fault("snapshots", format!("two reads are compared, and here are {count}")))?;
                Ok(Self::Two(Box::new([first.read("snapshots[0].")?, second.read("snapshots[1].")?])))
            }
            (None, None, None) if scenarios.is_some() => {
                Err(fault("scenarios", "this is a collection of graphs; give one of them".to_owned()))
            }
            (None, None, None) => Err(fault("nodes", "it is missing: a wait graph has at least `nodes`".to_owned())),
            _ => Err(fault("nodes", "give one of `nodes`, `generate` and `snapshots`".to_owned())),
        }
    }
}

struct Check<'s> {
    /// What stands before each path.
    at: &'s str,
    snapshot: &'s Snapshot,
}

/// The ids that there are, with their places.
struct Named<'s> {
    nodes: &'s BTreeMap<&'s str, usize>,
    resources: &'s BTreeMap<&'s str, usize>,
    consumables: &'s BTreeMap<&'s str, usize>,
}

impl Check<'_> {
    fn whole(&self) -> Result<(), Fault> {
        let Snapshot { nodes, resources, consumables, holds, waits } = self.snapshot;
        let lists = [
            ("nodes", nodes.len()),
            ("resources", resources.len()),
            ("consumables", consumables.len()),
            ("holds", holds.len()),
            ("waits", waits.len()),
        ];
        if let Some((list, length)) = lists.into_iter().find(|(_, length)| *length > ENTRIES_MAX) {
            return Err(self.fault(list.to_owned(), format!("{length} entries; at most {ENTRIES_MAX} are judged")));
        }
        let named_nodes = self.unique("nodes", nodes.iter().map(|node| &node.id))?;
        let named_resources = self.unique("resources", resources.iter().map(|resource| &resource.id))?;
        let named_consumables = self.unique("consumables", consumables.iter().map(|consumable| &consumable.id))?;
        for (place, node) in nodes.iter().enumerate() {
            if node.cost.is_some_and(|cost| cost < 0.0) {
                return Err(self.fault(format!("nodes[{place}].cost"), "a price is not below zero".to_owned()));
            }
        }
        for (place, consumable) in consumables.iter().enumerate() {
            for (producer, id) in consumable.producers.iter().enumerate() {
                let path = || format!("consumables[{place}].producers[{producer}]");
                self.known("node", id, &named_nodes, path)?;
            }
        }
        for (place, hold) in holds.iter().enumerate() {
            self.known("node", &hold.node, &named_nodes, || format!("holds[{place}].node"))?;
            self.known("resource", &hold.resource, &named_resources, || format!("holds[{place}].resource"))?;
        }
        self.unique("waits", waits.iter().map(|wait| &wait.node))?;
        for (place, wait) in waits.iter().enumerate() {
            self.known("node", &wait.node, &named_nodes, || format!("waits[{place}].node"))?;
            let named = Named { nodes: &named_nodes, resources: &named_resources, consumables: &named_consumables };
            self.expression(&wait.expr, &named, &|| format!("waits[{place}].expr"))?;
        }
        Ok(())
    }

    fn expression(&self, expr: &Expr, named: &Named<'_>, path: &impl Fn() -> String) -> Result<(), Fault> {
        self.counts(expr, path)?;
        let mut terms = Vec::new();
        each_term(expr, &mut |term| terms.push(term));
        let mut asked = BTreeSet::new();
        for term in terms {
            match term {
                Part::Resource { resource, .. } if !asked.insert(resource) => {
                    let message = format!("resource `{resource}` stands here twice; ask for the sum once");
                    return Err(self.fault(path(), message));
                }
                Part::Resource { resource, .. } => self.known("resource", resource, named.resources, path)?,
                Part::Node { node, .. } => self.known("node", node, named.nodes, path)?,
                Part::Consumable { consumable } => self.known("consumable", consumable, named.consumables, path)?,
                Part::Timer { .. } | Part::Expr(_) => {}
            }
        }
        Ok(())
    }

    /// The ids of a list, each of which is there once.
    fn unique<'i>(&self, list: &str, ids: impl Iterator<Item = &'i String>) -> Result<BTreeMap<&'i str, usize>, Fault> {
        let mut places = BTreeMap::new();
        for (place, id) in ids.enumerate() {
            if let Some(first) = places.insert(id.as_str(), place) {
                let key = if list == "waits" { "node" } else { "id" };
                let message = format!("`{id}` is there already, at {}{list}[{first}]", self.at);
                return Err(self.fault(format!("{list}[{place}].{key}"), message));
            }
        }
        Ok(places)
    }

    fn known(
        &self,
        what: &str,
        id: &str,
        known: &BTreeMap<&str, usize>,
        path: impl Fn() -> String,
    ) -> Result<(), Fault> {
        if known.contains_key(id) {
            return Ok(());
        }
        let meant = nearest(id, known.keys().copied());
        let meant = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
        Err(self.fault(path(), format!("there is no {what} `{id}`{meant}")))
    }

    /// Whether each expression of mode `k` says how many.
    fn counts(&self, expr: &Expr, path: &impl Fn() -> String) -> Result<(), Fault> {
        if expr.mode == Mode::K && expr.k.is_none() {
            return Err(self.fault(path(), "mode `k` needs the key `k`: how many parts must hold".to_owned()));
        }
        expr.of.iter().try_for_each(|part| match part {
            Part::Expr(inner) => self.counts(inner, path),
            _ => Ok(()),
        })
    }

    fn fault(&self, path: String, message: String) -> Fault {
        Fault::Meaning { path: format!("{}{path}", self.at), message }
    }
}
