//! The workflows that a run calls: found once, when it is submitted, so that it is pinned for life.
//!
//! Who looks them up differs (files beside the one that is run, what is registered), and may have to wait for it. So
//! this is a list of what is still wanted, which its caller works off:
//!
//! ```text
//! let mut calls = Calls::of(&definition);
//! while let Some(name) = calls.wanted() {
//!     match look_up(&name) {
//!         Some(found) => calls.found(found)?,
//!         None if calls.may_be_left() => calls.leave(),
//!         None => return Err(calls.unknown(names)),
//!     }
//! }
//! calls.end()
//! ```
//!
//! What a task only says that its attempt may spawn is wanted as well, and may be left: whoever spawns it looks it up then.
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
    /// Whether an attempt may spawn it, and no task's work is to.
    is_spawn: bool,
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

    /// Whether the next one need not be found now: an attempt may spawn it, and it is looked up then.
    pub fn may_be_left(&self) -> bool {
        self.wanted.front().is_some_and(|call| call.is_spawn)
    }

    /// The next one is found.
    ///
    /// # Errors
    /// If there are too many, or this one is too far away.
    pub fn found(&mut self, definition: Arc<Definition>) -> Result<(), Box<Problem>> {
        let Some(call) = self.wanted.pop_front() else { return Ok(()) };
        if self.found.len() >= CALLS_MAX {
            let text = format!("{} starts more than {CALLS_MAX} workflows, directly or not", self.root_name());
            return Err(self.problem(&call, text).expected(format!("at most {CALLS_MAX}")).into());
        }
        self.found.insert(Arc::clone(&call.workflow), Arc::clone(&definition));
        self.want(&definition, call.depth + 1);
        if let Some(deepest) = self.wanted.iter().find(|call| call.depth > DEPTH_MAX) {
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
            let key = if call.is_spawn { "spawns" } else { "workflow" };
            return Problem::new(Code::Call, format!("tasks.{}.{key}", call.task), text);
        }
        let (by, task) = (&call.by.body.name, &call.task);
        let how = if call.is_spawn { "may spawn" } else { "calls" };
        Problem::new(Code::Call, "tasks", format!("{text}, which task `{task}` of workflow `{by}` {how}"))
    }

    /// What a definition starts is wanted, if it is not found.
    fn want(&mut self, by: &Arc<Definition>, depth: usize) {
        for task in &by.body.tasks {
            let own = match &task.kind {
                TaskKind::Workflow(child) => Some(&child.workflow),
                _ => None,
            };
            for workflow in task.starts() {
                let is_spawn = own != Some(workflow);
                if self.found.contains_key(workflow) || (is_spawn && depth > DEPTH_MAX) {
                    continue;
                }
                let call = Call {
                    by: Arc::clone(by),
                    task: Arc::clone(&task.name),
                    workflow: Arc::clone(workflow),
                    depth,
                    is_spawn,
                };
                match self.wanted.iter_mut().find(|known| known.workflow == *workflow) {
                    // Whoever has to be there is, whoever else may be spawned.
                    Some(known) if known.is_spawn && !is_spawn => *known = call,
                    Some(_) => {}
                    None => self.wanted.push_back(call),
                }
            }
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
                None if calls.may_be_left() => calls.leave(),
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

    /// What may be spawned is found where it is, with what it calls, and left where it is not.
    #[test]
    fn what_may_be_spawned_is_found_if_it_is_there() {
        let spawns = |name: &str, tasks: &str| {
            let text = format!("name: {name}\ntasks:\n{tasks}");
            read_workflow(Path::new("flow.yaml"), text.as_bytes(), &Rules::default()).expect("sound").definition
        };
        let root = spawns("top", "  a: {exec: 'true', spawns: [part, gone, top]}\n");
        let found = |known: &[Arc<Definition>]| resolve(&root, known).map_err(|problem| problem.message);
        assert_eq!(found(&[]), Ok(vec!["top".to_owned()]));
        let part = workflow("part", &["step"]);
        assert_eq!(
            found(&[Arc::clone(&part), workflow("step", &[])]),
            Ok(vec!["part".to_owned(), "step".to_owned(), "top".to_owned()])
        );
        let missing = "there is no workflow `step`, which task `t-step` of workflow `part` calls";
        assert_eq!(found(&[part]), Err(missing.to_owned()));
        let both = spawns("both", "  a: {exec: 'true', spawns: [part]}\n  b: {workflow: part}\n");
        assert_eq!(resolve(&both, &[]).expect_err("`b` calls it").path, "tasks.b.workflow");
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
