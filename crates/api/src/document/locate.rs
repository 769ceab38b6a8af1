//! From a path such as `tasks.b.needs[1]` to the place in the file.

use super::{Document, Node, OnKey, Value};
use crate::source::Span;
use std::borrow::Cow;

impl Document<'_> {
    /// Where `path` stands, or the nearest place above it that does.
    pub fn locate(&self, path: &str, on_key: OnKey) -> Span {
        let mut node = &self.root;
        let mut key_span = None;
        for step in steps(path) {
            let Some((next, key)) = child(node, &step) else { return node.span };
            node = next;
            key_span = key;
        }
        match (on_key, key_span) {
            (OnKey::Yes, Some(key_span)) => key_span,
            _ => node.span,
        }
    }
}

enum Step<'p> {
    Key(Cow<'p, str>),
    Place(usize),
}

fn child<'n, 's>(node: &'n Node<'s>, step: &Step<'_>) -> Option<(&'n Node<'s>, Option<Span>)> {
    match (&node.value, step) {
        (Value::Map(entries), Step::Key(key)) => {
            entries.iter().find(|entry| entry.key == *key).map(|entry| (&entry.node, Some(entry.key_span)))
        }
        (Value::List(items), Step::Place(place)) => items.get(*place).map(|item| (item, None)),
        _ => None,
    }
}

/// The steps of a path: `word`, `.word`, `[7]`, `["any text"]`.
fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if rest.is_empty() {
            return None;
        }
        if let Some(inside) = rest.strip_prefix('[') {
            if inside.starts_with('"') {
                let mut texts = serde_json::Deserializer::from_str(inside).into_iter::<String>();
                let key = texts.next()?.ok()?;
                rest = inside.get(texts.byte_offset()..)?.strip_prefix(']')?;
                return Some(Step::Key(Cow::Owned(key)));
            }
            let (place, behind) = inside.split_once(']')?;
            rest = behind;
            return place.parse().ok().map(Step::Place);
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (key, behind) = rest.split_at(end);
        rest = behind;
        Some(Step::Key(Cow::Borrowed(key)))
    })
}
