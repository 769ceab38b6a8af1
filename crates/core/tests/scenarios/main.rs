//! The core's behaviour, told as stories: `*.txt` beside this file.
//!
//! Each story is a text that a person can read: a workflow, what happens, and under every line what
//! came of it. `UNKNOT_BLESS=1` writes down anew what happens now; read the difference before you
//! commit it. `UNKNOT_STORY=hang/` tells only those whose path contains that. The form of a story is in
//! `story.rs`, that of its commands in `command.rs`, that of its workflows in `workflow_form.rs`.
#![expect(clippy::disallowed_methods, reason = "tests read and bless files")]

mod alert;
mod ask;
mod audit;
mod bounds;
#[path = "../common/random.rs"]
mod chance;
mod command;
mod coverage;
mod fuzz_events;
mod lifecycle;
mod loads;
mod pairs;
mod print;
mod rules;
mod scan;
mod story;
mod words;
mod workflow_form;
mod world;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

/// The stories, in order of their names.
fn stories() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut pending = vec![folder];
    let mut found = Vec::new();
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).expect("the stories' folder can be listed") {
            let path = entry.expect("the stories' folder can be listed").path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "txt") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Whether texts are to be written anew instead of compared.
fn is_blessing() -> bool {
    std::env::var_os("UNKNOT_BLESS").is_some()
}

/// Holds a text that was made against the one that is kept.
fn check(path: &Path, told: &str) -> Result<(), String> {
    let kept = fs::read_to_string(path).unwrap_or_default();
    if kept == told {
        return Ok(());
    }
    if is_blessing() {
        return fs::write(path, told).map_err(|error| format!("{}: {error}", path.display()));
    }
    let line = kept.lines().zip(told.lines()).take_while(|(kept, told)| kept == told).count();
    let at = |text: &str| text.lines().nth(line).unwrap_or("(its end)").to_owned();
    Err(format!(
        "{}:{}: this happens now:\n  {}\nand this was kept:\n  {}\n(UNKNOT_BLESS=1 keeps what happens now)",
        path.display(),
        line + 1,
        at(told),
        at(&kept)
    ))
}

#[test]
fn stories_go_as_they_are_told() {
    let only = std::env::var("UNKNOT_STORY").ok();
    let wanted = |path: &PathBuf| only.as_ref().is_none_or(|only| path.to_string_lossy().contains(only.as_str()));
    let mut failures = Vec::new();
    for path in stories().into_iter().filter(wanted) {
        let text = fs::read_to_string(&path).expect("a story can be read");
        match catch_unwind(AssertUnwindSafe(|| story::tell(&text))) {
            Ok((told, _)) => failures.extend(check(&path, &told).err()),
            Err(_) => failures.push(format!("{}: the story panicked, see above", path.display())),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn the_diagrams_show_what_the_stories_took() {
    let mut seen = coverage::Coverage::default();
    // The large ones take no step that a small one does not.
    for path in stories().into_iter().filter(|path| !path.to_string_lossy().contains("/large/")) {
        seen.merge(story::tell(&fs::read_to_string(&path).expect("a story can be read")).1);
    }
    pairs::table(&mut seen);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lifecycle.md");
    let kept = fs::read_to_string(&path).expect("docs/lifecycle.md can be read");
    check(&path, &lifecycle::renewed(&kept, &seen)).unwrap_or_else(|difference| panic!("{difference}"));
}

#[test]
fn every_event_in_every_state_is_taken() {
    let mut seen = coverage::Coverage::default();
    let told = pairs::table(&mut seen);
    for (states, events) in [
        (&coverage::TASK_STATES[..], &coverage::TASK_EVENTS[..]),
        (&coverage::RUN_STATES[..], &coverage::RUN_EVENTS[..]),
    ] {
        for (state, event) in states.iter().flat_map(|state| events.iter().map(move |event| (*state, *event))) {
            assert!(seen.pairs.contains(&(state, event)), "nobody took `{event}` in `{state}`");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/pairs.table");
    check(&path, &told).unwrap_or_else(|difference| panic!("{difference}"));
}
