//! The workflows that a run calls: found once, when it is submitted, so that it is pinned for life.
//!
//! Who looks them up differs (files beside the one that is run, what is registered), and may have to wait for it. So
//! this is a list of what is still wanted, which its caller works off:
//!
//! ```text
//! let mut calls = Calls::of(&definition);
//! while let Some(name) = calls.wanted() {
//!     match look_up(&name) { Some(found) => calls.found(found)?, None => return Err(calls.unknown(names)) }
//! }
//! calls.end()
//! ```
//!
//! A workflow may call itself, directly or not: how deep runs spawn runs is bounded where they do.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use unknot_core::{
    validate::{Code, Problem, nearest},
    workflow::{Definition, TaskKind},
};

/// Workflows that one run may call, directly or not.
pub const CALLS_MAX: usize = 100;
/// How many calls one may be away from the run: deeper than runs may spawn runs, nothing is reached.
pub const DEPTH_MAX: usize = unknot_core::ANCESTORS_MAX;

/// A workflow with those that it calls.
pub type Called = BTreeMap<Arc<str>, Arc<Definition>>;

/// The workflows that a definition calls, and those that these call, as far as they are found.
#[derive(Debug)]
pub struct Calls {
    root: Arc<Definition>,
    found: Called,
    wanted: VecDeque<Call>,
}

/// One workflow calls another.
#[derive(Clone, Debug)]
struct Call {
    /// Who.
    by: Arc<Definition>,
    /// Its task that does.
    task: Arc<str>,
    /// Whom.
    workflow: Arc<str>,
    /// How many calls away from the run that is.
    depth: usize,
}

impl Calls {
    /// Of a definition, nothing found yet but itself.
    pub fn of(root: &Arc<Definition>) -> Self {
        let mut calls = Self { root: Arc::clone(root), found: Called::new(), wanted: VecDeque::new() };
        calls.want(root, 1);
        calls.skip_found();
        calls
    }

    /// The name of the next workflow to be looked up; none: all are found.
    pub fn wanted(&self) -> Option<Arc<str>> {
        self.wanted.front().map(|call| Arc::clone(&call.workflow))
    }

    /// The next one is found.
    ///
    /// # Errors
    /// If there are too many, or this one is too far away.
    pub fn found(&mut self, definition: Arc<Definition>) -> Result<(), Box<Problem>> {
        let Some(call) = self.wanted.pop_front() else { return Ok(()) };
        if self.found.len() >= CALLS_MAX {
            let text = format!("{} calls more than {CALLS_MAX} workflows, directly or not", self.root_name());
            return Err(self.problem(&call, text).expected(format!("at most {CALLS_MAX}")).into());
        }
        self.found.insert(Arc::clone(&call.workflow), Arc::clone(&definition));
        self.want(&definition, call.depth + 1);
        if let Some(deepest) = self.wanted.back().filter(|call| call.depth > DEPTH_MAX) {
            let text = format!("workflow `{}` is more than {DEPTH_MAX} calls away", deepest.workflow);
            return Err(self.problem(deepest, text).expected(format!("at most {DEPTH_MAX}")).into());
        }
        self.skip_found();
        Ok(())
    }

    /// The next one is for somebody else to find, with what it calls.
    pub fn leave(&mut self) {
        self.wanted.pop_front();
        self.skip_found();
    }

    /// The next one is not known, but these are.
    pub fn unknown<'n>(&self, known: impl IntoIterator<Item = &'n str>) -> Box<Problem> {
        let Some(call) = self.wanted.front() else {
            return Problem::new(Code::Call, "tasks", "no workflow is wanted any more").into();
        };
        let problem = self.problem(call, format!("there is no workflow `{}`", call.workflow));
        let nearest = nearest(&call.workflow, known);
        problem.nearest(nearest).help("put its file beside this one, or register it: `unknot workflow add FILE`").into()
    }

    /// All of them, by name.
    pub fn end(self) -> Called {
        self.found
    }

    fn root_name(&self) -> String {
        format!("workflow `{}`", self.root.body.name)
    }

    /// A problem at the place in the definition that is submitted, as near as that is to the call.
    fn problem(&self, call: &Call, text: String) -> Problem {
        if call.by.body.hash == self.root.body.hash {
            return Problem::new(Code::Call, format!("tasks.{}.workflow", call.task), text);
        }
        let (by, task) = (&call.by.body.name, &call.task);
        Problem::new(Code::Call, "tasks", format!("{text}, which task `{task}` of workflow `{by}` calls"))
    }

    /// What a definition calls is wanted, if it is not found.
    fn want(&mut self, by: &Arc<Definition>, depth: usize) {
        for task in &by.body.tasks {
            let TaskKind::Workflow(child) = &task.kind else { continue };
            let is_asked = self.wanted.iter().any(|call| call.workflow == child.workflow);
            if is_asked || self.found.contains_key(&child.workflow) {
                continue;
            }
            let (task, workflow) = (Arc::clone(&task.name), Arc::clone(&child.workflow));
            self.wanted.push_back(Call { by: Arc::clone(by), task, workflow, depth });
        }
    }

    /// Whoever calls itself by its name is what is submitted, whatever else has that name.
    fn skip_found(&mut self) {
        while let Some(call) = self.wanted.front().filter(|call| call.workflow == self.root.body.name) {
            self.found.insert(Arc::clone(&call.workflow), Arc::clone(&self.root));
            self.wanted.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::read_workflow;
    use std::path::Path;
    use unknot_core::validate::Rules;

    fn workflow(name: &str, calls: &[&str]) -> Arc<Definition> {
        let tasks = calls.iter().map(|called| format!("  t-{called}: {{workflow: {called}}}\n"));
        let text = format!("name: {name}\ntasks:\n  own: {{sleep: 1ms}}\n{}", tasks.collect::<String>());
        read_workflow(Path::new("flow.yaml"), text.as_bytes(), &Rules::default()).expect("sound").definition
    }

    fn resolve(root: &Arc<Definition>, known: &[Arc<Definition>]) -> Result<Vec<String>, Box<Problem>> {
        let mut calls = Calls::of(root);
        while let Some(wanted) = calls.wanted() {
            match known.iter().find(|known| known.body.name == wanted) {
                Some(found) => calls.found(Arc::clone(found))?,
                None => return Err(calls.unknown(known.iter().map(|known| &*known.body.name))),
            }
        }
        Ok(calls.end().keys().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_called_is_found_through_others_and_in_circles() {
        let known = [workflow("b", &["c"]), workflow("c", &["b", "a"]), workflow("a", &["other"])];
        let root = workflow("a", &["b"]);
        assert_eq!(resolve(&root, &known), Ok(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]));
        let mut calls = Calls::of(&root);
        calls.leave();
        assert_eq!((calls.wanted(), calls.end().len()), (None, 0), "somebody else finds it");
        let mut calls = Calls::of(&root);
        known[..2].iter().for_each(|found| calls.found(Arc::clone(found)).expect("few"));
        assert_eq!(calls.end()["a"].body.hash, root.body.hash, "itself, not what else has its name");
        assert_eq!(resolve(&workflow("alone", &["alone"]), &[]), Ok(vec!["alone".to_owned()]));
        assert_eq!(resolve(&workflow("none", &[]), &known), Ok(Vec::new()));
    }

    #[test]
    fn a_name_that_nobody_has_is_told_at_its_place_with_the_nearest() {
        let problem = resolve(&workflow("a", &["rendr"]), &[workflow("render", &[])]).expect_err("unknown");
        assert_eq!(problem.path, "tasks.t-rendr.workflow");
        assert_eq!(problem.nearest.as_deref(), Some("render"));
        let problem = resolve(&workflow("a", &["b"]), &[workflow("b", &["gone"])]).expect_err("unknown");
        assert_eq!(problem.message, "there is no workflow `gone`, which task `t-gone` of workflow `b` calls");
    }

    #[test]
    fn there_are_bounds_on_how_many_and_how_far() {
        let name = |number: usize| format!("w{number}");
        let many: Vec<String> = (0..=CALLS_MAX).map(name).collect();
        let known: Vec<Arc<Definition>> = many.iter().map(|name| workflow(name, &[])).collect();
        let names: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(resolve(&workflow("a", &names[1..]), &known).map(|found| found.len()), Ok(CALLS_MAX));
        resolve(&workflow("a", &names), &known).expect_err("one too many");
        let chain = |length: usize| -> Vec<Arc<Definition>> {
            let next = |number: usize| if number < length { vec![names[number + 1]] } else { Vec::new() };
            (1..=length).map(|number| workflow(names[number], &next(number))).collect()
        };
        assert!(resolve(&workflow("a", &["w1"]), &chain(DEPTH_MAX)).is_ok());
        resolve(&workflow("a", &["w1"]), &chain(DEPTH_MAX + 1)).expect_err("too far");
    }
}
