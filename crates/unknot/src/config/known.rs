//! Every key that `unknot.yaml` may have, so that a mistyped one is told from one of a later version.

use crate::nearest::nearest;
use unknot_api::{
    document::{Document, Entry, Node, OnKey, Value},
    report::{Code, Diagnostic},
};

/// What may stand at a place of the file.
enum Keys {
    /// A single value, or one of which nothing is known here.
    Any,
    /// A map with these keys.
    Known(&'static [(&'static str, Keys)]),
    /// A map with names of its author's choice.
    Named(&'static Keys),
}

const DEADLOCK: Keys = Keys::Known(&[
    ("check_interval_s", Keys::Any),
    ("pending_stale_s", Keys::Any),
    ("workflow_stale_s", Keys::Any),
    ("cancel_on_deadlock", Keys::Any),
    ("alert_webhook", Keys::Any),
    ("max_dependency_depth", Keys::Any),
]);

const FILE: Keys = Keys::Known(&[
    ("server", Keys::Known(&[("listen", Keys::Any), ("data", Keys::Any)])),
    ("logging", Keys::Known(&[("level", Keys::Any), ("format", Keys::Any), ("file", Keys::Any)])),
    ("store", Keys::Any),
    ("redis", Keys::Any),
    ("worker", Keys::Known(&[("slots", Keys::Any), ("labels", Keys::Named(&Keys::Any))])),
    (
        "queues",
        Keys::Named(&Keys::Known(&[
            ("max_queue_size", Keys::Any),
            ("visibility_timeout", Keys::Any),
            ("max_retries", Keys::Any),
            ("low_counts_as_high_after", Keys::Any),
        ])),
    ),
    ("pools", Keys::Named(&Keys::Known(&[("size", Keys::Any), ("lend", Keys::Any)]))),
    ("deadlock", DEADLOCK),
    ("orchestrator", DEADLOCK),
    (
        "inboxes",
        Keys::Named(&Keys::Known(&[
            ("file", Keys::Any),
            ("folder", Keys::Any),
            ("workflow", Keys::Any),
            ("poll", Keys::Any),
        ])),
    ),
    ("providers", Keys::Named(&Keys::Known(&[("base_url", Keys::Any), ("keys", Keys::Any)]))),
    (
        "gateway",
        Keys::Known(&[
            (
                "pools",
                Keys::Named(&Keys::Known(&[("keys", Keys::Any), ("max_concurrent", Keys::Any), ("depth", Keys::Any)])),
            ),
            ("max_depth", Keys::Any),
            (
                "timeouts",
                Keys::Known(&[
                    ("connect_timeout", Keys::Any),
                    ("http_timeout", Keys::Any),
                    ("read_timeout", Keys::Any),
                    ("nested_timeout", Keys::Any),
                    ("user_timeout", Keys::Any),
                ]),
            ),
            (
                "breaker",
                Keys::Known(&[
                    ("failure_threshold", Keys::Any),
                    ("success_threshold", Keys::Any),
                    ("timeout", Keys::Any),
                    ("half_open_max_calls", Keys::Any),
                ]),
            ),
        ]),
    ),
]);

/// A problem with its place, as a document's report takes it.
pub(super) type Placed = (Diagnostic, OnKey);

/// Tells of every key that nobody knows.
pub(super) fn check(document: &Document<'_>, problems: &mut Vec<Placed>) {
    check_node(&document.root, &FILE, "", problems);
}

fn check_node(node: &Node<'_>, keys: &Keys, path: &str, problems: &mut Vec<Placed>) {
    let (Value::Map(entries), false) = (&node.value, matches!(keys, Keys::Any)) else { return };
    for entry in entries {
        let below = join(path, &entry.key);
        match keys {
            Keys::Any => {}
            Keys::Named(inner) => check_node(&entry.node, inner, &below, problems),
            Keys::Known(known) => match known.iter().find(|(name, _)| *name == entry.key) {
                Some((_, inner)) => check_node(&entry.node, inner, &below, problems),
                None => problems.push((unknown(entry, known).at(below), OnKey::Yes)),
            },
        }
    }
}

fn unknown(entry: &Entry<'_>, known: &[(&str, Keys)]) -> Diagnostic {
    let problem = Diagnostic::new(Code::UnknownKey, format!("unknown key `{}`", entry.key));
    match nearest(&entry.key, known.iter().map(|(name, _)| *name)) {
        Some(nearest) => problem.help(format!("did you mean `{nearest}`?")),
        None => {
            let names: Vec<String> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
            problem.expected(format!("one of {}", names.join(", ")))
        }
    }
}

/// How `key` continues a path.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    match (plain, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{}]", serde_json::Value::from(key)),
    }
}
