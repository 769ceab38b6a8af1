//! Rules at the size where they could become slow, and inputs. What each rule says of a file stands
//! in the engine's `tests/workflow_files`.

use super::*;
use crate::settings::INPUT_BYTES_MAX;
use crate::workflow::{Command, InputType, TaskKind, Until};
use serde_json::json;

fn sleep(name: String, needs: impl IntoIterator<Item = String>) -> DraftTask {
    let of = needs.into_iter().map(|task| DraftNeed { task, until: Until::Succeeded }).collect();
    DraftTask { needs: DraftNeeds { count: NeedsCount::All, of }, ..DraftTask::new(name, TaskKind::Sleep(Millis(0))) }
}

fn draft(tasks: Vec<DraftTask>) -> Draft {
    Draft { name: "a".to_owned(), tasks, ..Draft::default() }
}

/// The first problem of a draft, as text.
fn first_problem(draft: Draft) -> String {
    let problems = check(draft, &Rules::default()).expect_err("a draft with problems");
    assert!(problems.len() <= PROBLEMS_MAX);
    problems[0].to_string()
}

const LARGE: u32 = 50_000;

#[test]
fn a_chain_of_any_length_is_refused_without_recursion() {
    let chain = (0..LARGE).map(|task| sleep(format!("t{task}"), (task > 0).then(|| format!("t{}", task - 1))));
    let problem = first_problem(draft(chain.collect()));
    assert!(problem.contains("a chain of 50000 tasks") && problem.contains("t0 → t1"), "{problem}");
}

#[test]
fn a_circle_of_any_length_is_shown_by_its_ends() {
    let circle = (0..LARGE).map(|task| sleep(format!("t{task}"), [format!("t{}", (task + 1) % LARGE)]));
    let problem = first_problem(draft(circle.collect()));
    assert!(
        problem.contains("t0 → t1 → t2") && problem.contains("… →") && problem.ends_with("remove one of them"),
        "{problem}"
    );
}

#[test]
fn a_circle_is_found_behind_tasks_that_only_wait_for_it() {
    let tasks = vec![
        sleep("waits".to_owned(), ["b".to_owned()]),
        sleep("b".to_owned(), ["c".to_owned()]),
        sleep("c".to_owned(), ["b".to_owned()]),
    ];
    assert!(first_problem(draft(tasks)).contains("circle: b → c → b"));
}

#[test]
fn too_many_tasks_are_refused() {
    let tasks = (0..=TASKS_MAX).map(|task| sleep(format!("t{task}"), []));
    assert!(first_problem(draft(tasks.collect())).contains("200001 tasks"));
}

#[test]
fn more_locks_than_one_step_can_make_are_refused() {
    let locked = |lock: usize| DraftTask { locks: vec![format!("l{lock}")], ..sleep(format!("t{lock}"), []) };
    check(draft((0..resources::LOCKS_MAX).map(locked).collect()), &Rules::default()).expect("as many as one may");
    let problem = first_problem(draft((0..=resources::LOCKS_MAX).map(locked).collect()));
    assert!(problem.contains("501 different locks"), "{problem}");
    let pools = [("l0".to_owned(), 1)].into();
    let rules = Rules { pools, ..Rules::default() };
    check(draft((0..=resources::LOCKS_MAX).map(locked).collect()), &rules).expect("a declared one does not count");
}

#[test]
fn more_queues_than_a_workflow_may_name_are_refused() {
    let queued = |queue: usize| {
        let noop = DraftTask::new(format!("t{queue}"), TaskKind::Noop);
        DraftTask { queue: Some(format!("q{}", queue % 1_001)), ..noop }
    };
    check(draft((0..resources::QUEUES_MAX).map(queued).collect()), &Rules::default()).expect("as many as one may");
    let problem = first_problem(draft((0..2_000).map(queued).collect()));
    assert!(problem.starts_with("tasks.t1000.queue: error[UK0127]: `q1000` is one queue too many"), "{problem}");
}

/// Every task is wrong in several ways: the text of a problem is made only for those that are shown.
#[test]
fn a_draft_full_of_problems_is_told_in_time() {
    let tasks = (0..LARGE).map(|task| sleep(format!("T{task}"), [format!("x{task}")]));
    assert!(first_problem(draft(tasks.collect())).contains("UK0120"));
}

/// A column of tasks below each of many roots; the last of a column names its root from afar.
#[test]
fn names_from_afar_are_checked_in_bulk() {
    let column = |root: u32| {
        let last = DraftTask {
            kind: TaskKind::Exec(Command::Argv(vec!["echo".to_owned(), format!("{{{{ tasks.root{root}.status }}}}")])),
            ..sleep(format!("last{root}"), [format!("middle{root}")])
        };
        [sleep(format!("root{root}"), []), sleep(format!("middle{root}"), [format!("root{root}")]), last]
    };
    let good: Vec<DraftTask> = (0..1_000).flat_map(column).collect();
    check(draft(good.clone()), &Rules::default()).expect("each root stands before its last task");
    let mut bad = good;
    bad[2_998].needs.of.clear();
    assert!(first_problem(draft(bad)).contains("task `root999` may still be running when `last999` starts"));
    let too_many: Vec<DraftTask> = (0..5_000).flat_map(column).collect();
    assert!(first_problem(draft(too_many)).contains("more than 4096 tasks are named from farther"));
}

fn with_inputs() -> Definition {
    let input = |type_, default| InputDecl { type_, default, description: None };
    let inputs = BTreeMap::from([
        ("topic".to_owned(), input(Some(InputType::String), None)),
        ("pages".to_owned(), input(Some(InputType::Integer), Some(json!(3)))),
        ("any".to_owned(), input(None, Some(json!(null)))),
    ]);
    let draft = Draft { inputs, ..draft(vec![sleep("a".to_owned(), [])]) };
    check(draft, &Rules::default()).expect("a good draft").definition
}

#[test]
fn inputs_are_checked_and_completed() {
    let definition = with_inputs();
    for (given, expected) in [
        (json!({"topic": "tea"}), Ok(json!({"topic": "tea", "any": null, "pages": 3}))),
        (json!({"topic": "tea", "pages": 4.0, "any": [1]}), Ok(json!({"topic": "tea", "pages": 4.0, "any": [1]}))),
        (json!({"topic": 7}), Err("input.topic: error[UK0140]: `7` is a number\n  expected text")),
        (
            json!({"topic": "x", "pages": 1.5}),
            Err("input.pages: error[UK0140]: `1.5` is a number\n  expected a whole number"),
        ),
        (
            json!({}),
            Err("input.topic: error[UK0140]: input `topic` is missing\n  expected text\n  help: give it: `-i topic=…`"),
        ),
        (
            json!({"topic": "x", "pagse": 1}),
            Err(
                "input.pagse: error[UK0140]: unknown input `pagse`\n  expected one of `any`, `pages`, `topic`\n  help: did you mean `pages`?",
            ),
        ),
    ] {
        let map = given.as_object().cloned().expect("a map");
        let checked = check_input(&definition, map).map_err(|problems| problems[0].to_string());
        assert_eq!(checked, expected.map_err(str::to_owned), "{given}");
    }
}

#[test]
fn a_workflow_that_declares_nothing_takes_any_input() {
    let definition = check(draft(vec![sleep("a".to_owned(), [])]), &Rules::default()).expect("a good draft").definition;
    let given = json!({"x": [1, {"y": null}]});
    assert_eq!(check_input(&definition, given.as_object().cloned().expect("a map")), Ok(given));
}

#[test]
fn the_input_of_a_run_is_bounded() {
    let large = json!("x".repeat(INPUT_BYTES_MAX / 2));
    let free = check(draft(vec![sleep("a".to_owned(), [])]), &Rules::default()).expect("a good draft").definition;
    let given = json!({"a": large, "b": large});
    let problems = check_input(&free, given.as_object().cloned().expect("a map")).expect_err("too large");
    assert!(problems[0].to_string().starts_with("input: error[UK0140]: 1048591 bytes as JSON"), "{}", problems[0]);

    let declared =
        |name: &str| (name.to_owned(), InputDecl { type_: None, default: Some(large.clone()), description: None });
    let one = Draft { inputs: [declared("a")].into(), ..draft(vec![sleep("t".to_owned(), [])]) };
    let both = Draft { inputs: [declared("a"), declared("b")].into(), ..one.clone() };
    check(one, &Rules::default()).expect("half of what there may be");
    let problem = first_problem(both);
    assert!(problem.starts_with("input.b.default: error[UK0140]: 1048591 bytes as JSON"), "{problem}");
}

#[test]
fn the_texts_and_templates_of_a_task_are_bounded() {
    let exec = |words: Vec<String>| DraftTask::new("a", TaskKind::Exec(Command::Argv(words)));
    let long = vec!["x".repeat(60_000); 18];
    let shell = TaskKind::Exec(Command::Shell("x".repeat(1 << 20)));
    let many = vec!["{{ run.id }}".to_owned(); 1_001];
    for (task, expected) in [
        (exec(long), "tasks.a: error[UK0128]: the texts of task `a` have 1080162 bytes together"),
        (DraftTask::new("a", shell), "tasks.a: error[UK0128]: the texts of task `a` have 1048585 bytes together"),
        (exec(many), "tasks.a: error[UK0130]: task `a` has 1001 templates"),
    ] {
        let problem = first_problem(draft(vec![task]));
        assert!(problem.starts_with(expected), "{problem}");
    }
}
