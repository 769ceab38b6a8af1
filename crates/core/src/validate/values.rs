//! The texts of requests and calls, wherever they stand in them.

use super::{draft::DraftTask, problem::join_key};
use crate::{
    template::is_template,
    workflow::{ForEach, Http, TaskKind},
};
use serde_json::Value;

/// All of them with their places below the task, in the order in which they are rendered; those of a `for_each` apart.
pub(super) fn texts(task: &DraftTask) -> Vec<(String, &str)> {
    match &task.kind {
        TaskKind::Http(http) => texts_of_request(http),
        TaskKind::Worker(call) => texts_of("input", &call.input),
        TaskKind::Workflow(child) => texts_of("input", &child.input),
        TaskKind::Exec(_) | TaskKind::Sleep(_) | TaskKind::Signal(_) | TaskKind::Noop => Vec::new(),
    }
}

/// The texts of the items of a `for_each`, which see no item themselves.
pub(super) fn item_texts(task: &DraftTask) -> Vec<(String, &str)> {
    match for_each(task) {
        Some(each) => texts_of("for_each", &each.items),
        None => Vec::new(),
    }
}

/// The `for_each` of a task, if it has one.
pub(super) fn for_each(task: &DraftTask) -> Option<&ForEach> {
    match &task.kind {
        TaskKind::Workflow(child) => child.for_each.as_ref(),
        _ => None,
    }
}

/// The texts of a value that stands at `path`.
pub(super) fn texts_of<'v>(path: &str, value: &'v Value) -> Vec<(String, &'v str)> {
    let mut texts = Vec::new();
    texts_of_value(path.to_owned(), value, &mut texts);
    texts
}

/// Those that are templates, with their places among all.
pub(super) fn templates(task: &DraftTask) -> impl Iterator<Item = (usize, &str)> {
    texts(task).into_iter().map(|(_, text)| text).enumerate().filter(|(_, text)| is_template(text))
}

/// What they add to the texts of the task beside themselves, in bytes: keys, and all of a value, whatever it is made
/// of.
pub(super) fn other_bytes(task: &DraftTask) -> usize {
    match &task.kind {
        TaskKind::Http(http) => {
            let names: usize = http.headers.keys().map(String::len).sum();
            names + http.body.as_ref().map_or(0, |body| body.to_string().len())
        }
        TaskKind::Worker(call) => call.input.to_string().len(),
        TaskKind::Workflow(child) => {
            let items = child.for_each.as_ref().map_or(0, |each| each.items.to_string().len());
            items + child.input.to_string().len()
        }
        TaskKind::Exec(_) | TaskKind::Sleep(_) | TaskKind::Signal(_) | TaskKind::Noop => 0,
    }
}

fn texts_of_request(http: &Http) -> Vec<(String, &str)> {
    let mut texts = vec![("http.url".to_owned(), http.url.as_str())];
    texts.extend(http.headers.iter().map(|(name, value)| (join_key("http.headers", name), value.as_str())));
    if let Some(body) = &http.body {
        texts_of_value("http.body".to_owned(), body, &mut texts);
    }
    texts
}

/// As deep as the file was, which its reader bounds.
fn texts_of_value<'v>(path: String, value: &'v Value, texts: &mut Vec<(String, &'v str)>) {
    match value {
        Value::String(text) => texts.push((path, text)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(place, item)| texts_of_value(format!("{path}[{place}]"), item, texts));
        }
        Value::Object(map) => map.iter().for_each(|(key, value)| texts_of_value(join_key(&path, key), value, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
