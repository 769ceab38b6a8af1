//! Drawings of a wait graph that can be pasted into a ticket: Graphviz and Mermaid.

use super::{Class, Expr, Mode, NodeState, Part, Snapshot, Until, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Nodes that are drawn: beyond, nobody sees anything, and Mermaid draws nothing at all.
const DRAWN_MAX: usize = 120;

/// A snapshot with its verdict for Graphviz (`dot -Tsvg`). Arrows lead from who waits to what it waits for, and from a
/// resource to who holds it: a ring of arrows is a ring of waits. The cause is drawn first and in red; of a large graph
/// only the nodes that matter most are drawn.
pub fn dot(snapshot: &Snapshot, verdict: &Verdict) -> String {
    let figure = Figure::of(snapshot, verdict);
    let mut text = format!(
        "digraph waits {{\n  label=\"{}\"; labelloc=t; node [fontname=sans, style=filled, fillcolor=white];\n",
        quoted(&figure.title)
    );
    for Shape { key, label, kind, tone } in &figure.shapes {
        let shape = match kind {
            Kind::Node => "box",
            Kind::Resource => "ellipse",
            Kind::Consumable => "note",
        };
        write_line(
            &mut text,
            &format!("  {key} [label=\"{}\", shape={shape}, fillcolor=\"{}\"];", quoted(label), tone.colour()),
        );
    }
    for Arrow { from, to, label, is_choice } in &figure.arrows {
        let style = if *is_choice { ", style=dashed" } else { "" };
        write_line(&mut text, &format!("  {from} -> {to} [label=\"{}\"{style}];", quoted(label)));
    }
    text + "}\n"
}

/// The same as [`dot`] for Mermaid, which many trackers draw by themselves.
pub fn mermaid(snapshot: &Snapshot, verdict: &Verdict) -> String {
    let figure = Figure::of(snapshot, verdict);
    let mut text = format!("flowchart LR\n  %% {}\n", figure.title);
    for Shape { key, label, kind, tone } in &figure.shapes {
        let (open, close) = match kind {
            Kind::Node => ("[", "]"),
            Kind::Resource => ("([", "])"),
            Kind::Consumable => ("[/", "/]"),
        };
        write_line(&mut text, &format!("  {key}{open}\"{}\"{close}", coded(label)));
        write_line(&mut text, &format!("  style {key} fill:{},color:#000000", tone.colour()));
    }
    for Arrow { from, to, label, is_choice } in &figure.arrows {
        let arrow = if *is_choice { "-.->" } else { "-->" };
        write_line(&mut text, &format!("  {from} {arrow}|\"{}\"| {to}", coded(label)));
    }
    text
}

fn write_line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes everything");
}

enum Kind {
    Node,
    Resource,
    Consumable,
}

#[derive(Clone, Copy)]
enum Tone {
    Plain,
    Runs,
    Outside,
    Dead,
    Cause,
}

impl Tone {
    fn colour(self) -> &'static str {
        match self {
            Self::Plain => "#ffffff",
            Self::Runs => "#cdeccd",
            Self::Outside => "#fff2b3",
            Self::Dead => "#ffd9b3",
            Self::Cause => "#ff9999",
        }
    }
}

struct Shape {
    key: String,
    label: String,
    kind: Kind,
    tone: Tone,
}

struct Arrow {
    from: String,
    to: String,
    label: String,
    /// Whether it is one of several ways to go on.
    is_choice: bool,
}

struct Figure {
    title: String,
    shapes: Vec<Shape>,
    arrows: Vec<Arrow>,
}

impl Figure {
    fn of(snapshot: &Snapshot, verdict: &Verdict) -> Self {
        let set = |ids: &[String]| ids.iter().cloned().collect::<BTreeSet<String>>();
        let (core, dead, outside) = (set(&verdict.core), set(&verdict.deadlocked), set(&verdict.needs_external));
        let tone = |id: &String, state: NodeState| match state {
            _ if core.contains(id) => Tone::Cause,
            _ if dead.contains(id) => Tone::Dead,
            _ if outside.contains(id) || state == NodeState::External => Tone::Outside,
            NodeState::Running => Tone::Runs,
            _ => Tone::Plain,
        };
        let mut chosen: Vec<usize> = (0..snapshot.nodes.len()).collect();
        let weight = |place: &usize| match tone(&snapshot.nodes[*place].id, snapshot.nodes[*place].state) {
            Tone::Cause => 0,
            Tone::Dead => 1,
            Tone::Outside => 2,
            Tone::Runs => 3,
            Tone::Plain => 4,
        };
        chosen.sort_by_key(weight);
        let left_out = chosen.len().saturating_sub(DRAWN_MAX);
        chosen.truncate(DRAWN_MAX);
        chosen.sort_unstable();
        let word = match verdict.verdict {
            Class::Moving => "moving",
            Class::Stalled => "stalled: only the outside can move it",
            Class::Soft => "dead only by the order of queues",
            Class::Deadlocked => "deadlocked",
        };
        let title = match left_out {
            0 => word.to_owned(),
            more => format!("{word}; {more} nodes are not drawn"),
        };
        let mut figure = Self { title, shapes: Vec::new(), arrows: Vec::new() };
        let mut keys: BTreeMap<&str, String> = BTreeMap::new();
        for (number, place) in chosen.iter().enumerate() {
            let node = &snapshot.nodes[*place];
            let key = format!("n{number}");
            let mut label =
                node.label.as_ref().map_or_else(|| node.id.clone(), |label| format!("{label}, {}", node.id));
            if node.state != NodeState::Waiting {
                label.push_str(&format!(" ({})", word_of(node.state)));
            }
            figure.shapes.push(Shape { key: key.clone(), label, kind: Kind::Node, tone: tone(&node.id, node.state) });
            keys.insert(&node.id, key);
        }
        figure.add_things(snapshot, &keys);
        figure
    }

    /// The resources and consumables that drawn nodes hold, wait for or send, and the arrows.
    fn add_things(&mut self, snapshot: &Snapshot, nodes: &BTreeMap<&str, String>) {
        let resources: BTreeMap<&str, usize> =
            snapshot.resources.iter().enumerate().map(|(place, resource)| (resource.id.as_str(), place)).collect();
        let consumables: BTreeMap<&str, usize> = snapshot
            .consumables
            .iter()
            .enumerate()
            .map(|(place, consumable)| (consumable.id.as_str(), place))
            .collect();
        let generations: BTreeMap<&str, u64> =
            snapshot.nodes.iter().map(|node| (node.id.as_str(), node.generation)).collect();
        let (mut drawn_resources, mut drawn_consumables) = (BTreeSet::new(), BTreeSet::new());
        for hold in &snapshot.holds {
            let is_stale = hold.generation.is_some_and(|of| generations.get(hold.node.as_str()) != Some(&of));
            let (Some(to), Some(place)) = (nodes.get(hold.node.as_str()), resources.get(hold.resource.as_str())) else {
                continue;
            };
            if !is_stale {
                drawn_resources.insert(*place);
                let label = if hold.leaked {
                    format!("{} never given back", hold.units)
                } else {
                    format!("{} held by", hold.units)
                };
                self.arrows.push(Arrow { from: format!("r{place}"), to: to.clone(), label, is_choice: false });
            }
        }
        for wait in &snapshot.waits {
            let Some(from) = nodes.get(wait.node.as_str()) else { continue };
            terms(&wait.expr, false, &mut |term, is_choice| {
                let (to, label) = match term {
                    Part::Resource { resource, units } => {
                        let Some(place) = resources.get(resource.as_str()) else { return };
                        drawn_resources.insert(*place);
                        (format!("r{place}"), format!("waits for {units}"))
                    }
                    Part::Node { node, until } => {
                        let Some(to) = nodes.get(node.as_str()) else { return };
                        (
                            to.clone(),
                            if *until == Until::Success { "until it succeeds" } else { "until it ends" }.to_owned(),
                        )
                    }
                    Part::Consumable { consumable } => {
                        let Some(place) = consumables.get(consumable.as_str()) else { return };
                        drawn_consumables.insert(*place);
                        (format!("c{place}"), "waits for".to_owned())
                    }
                    Part::Expr(_) | Part::Timer { .. } => return,
                };
                self.arrows.push(Arrow { from: from.clone(), to, label, is_choice });
            });
        }
        for place in drawn_resources {
            let resource = &snapshot.resources[place];
            let name = resource.label.as_ref().unwrap_or(&resource.id);
            let label = match resource.units {
                1 => name.clone(),
                units => format!("{name} ({units} units)"),
            };
            self.shapes.push(Shape { key: format!("r{place}"), label, kind: Kind::Resource, tone: Tone::Plain });
        }
        for place in drawn_consumables {
            let consumable = &snapshot.consumables[place];
            let tone = if consumable.external { Tone::Outside } else { Tone::Plain };
            let key = format!("c{place}");
            let label = consumable.label.as_ref().unwrap_or(&consumable.id).clone();
            for to in consumable.producers.iter().filter_map(|id| nodes.get(id.as_str())) {
                self.arrows.push(Arrow {
                    from: key.clone(),
                    to: to.clone(),
                    label: "sent by".to_owned(),
                    is_choice: true,
                });
            }
            self.shapes.push(Shape { key, label, kind: Kind::Consumable, tone });
        }
    }
}

/// Calls `visit` with each term, and whether it is one of several ways to go on.
fn terms<'e>(expr: &'e Expr, is_choice: bool, visit: &mut impl FnMut(&'e Part, bool)) {
    let is_choice = is_choice || (expr.mode != Mode::All && expr.needed() < expr.of.len());
    for part in &expr.of {
        match part {
            Part::Expr(inner) => terms(inner, is_choice, visit),
            term => visit(term, is_choice),
        }
    }
}

fn word_of(state: NodeState) -> &'static str {
    match state {
        NodeState::Running => "running",
        NodeState::Waiting => "waiting",
        NodeState::External => "busy outside",
        NodeState::Done => "done",
        NodeState::Failed => "failed",
        NodeState::Cancelled => "cancelled",
    }
}

/// Text within quotation marks of Graphviz.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => quoted.push(' '),
            letter => quoted.push(letter),
        }
    }
    quoted
}

/// Text within quotation marks of Mermaid: what has a meaning there stands as its number.
fn coded(text: &str) -> String {
    let mut coded = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' | '#' | '`' | '<' | '>' | '&' | '|' | ';' | '\\' => coded.push_str(&format!("#{};", u32::from(letter))),
            letter if letter.is_control() => coded.push(' '),
            letter => coded.push(letter),
        }
    }
    coded
}
