//! The diagrams of `docs/lifecycle.md`, made from the steps that the stories took.

use crate::coverage::Coverage;
use std::collections::{BTreeMap, BTreeSet};

type Steps = BTreeMap<(String, String), BTreeSet<String>>;

/// The page with its generated parts made anew; each stands between `<!-- steps of NAME -->` and
/// `<!-- end -->`.
pub(crate) fn renewed(page: &str, seen: &Coverage) -> String {
    let parts = [("a run", &seen.run_steps), ("a task", &seen.task_steps), ("an attempt", &seen.attempt_steps)];
    parts.into_iter().fold(page.to_owned(), |page, (name, steps)| {
        let begin = format!("<!-- steps of {name} -->\n");
        let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("the page lost its mark `{begin}`"));
        let (_, after) = rest.split_once("<!-- end -->").unwrap_or_else(|| panic!("the page lost an end mark"));
        format!("{before}{begin}{}<!-- end -->{after}", diagram(steps))
    })
}

/// A Mermaid diagram of steps, and who causes each.
fn diagram(steps: &Steps) -> String {
    let mut text = String::from("```mermaid\nstateDiagram-v2\n");
    let sources: BTreeSet<&String> = steps.keys().map(|(from, _)| from).collect();
    let ends: BTreeSet<&String> = steps.keys().map(|(_, to)| to).filter(|to| !sources.contains(to)).collect();
    let begins: BTreeSet<&String> = steps.keys().map(|(from, _)| from).collect();
    let targets: BTreeSet<&String> = steps.keys().map(|(_, to)| to).collect();
    for begin in begins.iter().filter(|begin| !targets.contains(*begin) && begin.as_str() != "[*]") {
        text.push_str(&format!("    [*] --> {begin}\n"));
    }
    for ((from, to), causes) in steps {
        let causes: BTreeSet<&str> = causes.iter().map(|cause| short(cause)).collect();
        let causes: Vec<&str> = causes.into_iter().collect();
        text.push_str(&format!("    {from} --> {to}: {}\n", causes.join(", ")));
    }
    for end in ends {
        text.push_str(&format!("    {end} --> [*]\n"));
    }
    text.push_str("```\n");
    text
}

/// An event without what a diagram has no room for.
fn short(cause: &str) -> &str {
    match cause.split_once(' ') {
        Some(("AttemptEnded", _)) => "AttemptEnded",
        Some(("DeadlinePassed", deadline)) => deadline,
        _ => cause,
    }
}
