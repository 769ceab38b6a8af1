//! What templates give, case by case.

use super::*;
use std::collections::BTreeMap;

const INPUT: &str = r#"{"topic": "tea \"x\"", "n": 3, "f": 1.0, "big": 18446744073709551615, "list": [3, 1, 2],
    "words": ["b", "a", "b"], "map": {"z": 1, "a": [true, null]}, "none": null, "flag": false, "hyphen-ated": 1,
    "text": "a,b,,c", "tasks": "not the tasks"}"#;

fn with_context<T>(run: impl FnOnce(&Context<'_>) -> T) -> T {
    let labels = BTreeMap::from([("team".to_owned(), "docs".to_owned())]);
    let task = |name: &str| match name {
        "fetch" => {
            Some(TaskFacts { status: "COMPLETED", output: Some(r#"{"pages": [1, 2], "text": "hi"}"#), error: None })
        }
        "render-small" => {
            Some(TaskFacts { status: "FAILED", output: None, error: Some(r#"{"message": "no gpu"}"#.into()) })
        }
        "broken" => Some(TaskFacts { status: "COMPLETED", output: Some("{not json"), error: None }),
        _ => None,
    };
    run(&Context { input: INPUT, task: &task, run_id: "run_01", labels: &labels, item: Some(r#"{"k": "v"}"#) })
}

/// The text, or the error with its help.
fn text(source: &str) -> String {
    with_context(|context| Renderer::new(*context).text(source)).unwrap_or_else(|error| shown(&error))
}

fn condition(source: &str) -> String {
    with_context(|context| Renderer::new(*context).condition(source))
        .map_or_else(|error| shown(&error), |value| value.to_string())
}

fn shown(error: &TemplateError) -> String {
    format!("{:?}: {error}", error.kind)
}

/// The value as JSON, or the error.
fn value(source: &str) -> String {
    with_context(|context| Renderer::new(*context).value(source))
        .map_or_else(|error| shown(&error), |value| value.to_string())
}

#[test]
fn a_value_that_is_exactly_one_expression_keeps_its_type() {
    for (source, expected) in [
        ("{{ input.n }}", "3"),
        ("{{ input.f }}", "1.0"),
        ("{{ input.big }}", "18446744073709551615"),
        ("{{ input.map }}", r#"{"z":1,"a":[true,null]}"#),
        ("{{ input.none }}", "null"),
        ("{{ input.flag }}", "false"),
        ("{{ input.topic }}", r#""tea \"x\"""#),
        ("{{ tasks.fetch.output.pages }}", "[1,2]"),
        ("3", "\"3\""),
        (" {{ input.n }}", "\" 3\""),
        ("{{ input.n }}{{ input.n }}", "\"33\""),
        ("{{ input.nothing }}", "Missing: `input.nothing` is missing"),
        ("a {{ input.none }}", "Missing: `input.none` is null"),
    ] {
        assert!(value(source).starts_with(expected), "{source}: {}", value(source));
    }
}

#[test]
fn text_is_rendered_with_strings_raw_and_the_rest_as_json() {
    for (source, expected) in [
        ("plain } text { with 100%", "plain } text { with 100%"),
        ("{{ input.topic }}", r#"tea "x""#),
        ("a {{ input.n }} b {{ input.f }}c", "a 3 b 1.0c"),
        ("{{ input.big }}", "18446744073709551615"),
        ("{{ input.list }} {{ input.map }}", r#"[3,1,2] {"z":1,"a":[true,null]}"#),
        ("{{ input.flag }}", "false"),
        ("{{ input['hyphen-ated'] }}", "1"),
        ("{{ input.tasks }}", "not the tasks"),
        ("{{ tasks.fetch.output.text }}-{{ tasks.fetch.status }}", "hi-COMPLETED"),
        ("{{ tasks[\"render-small\"].error.message }}", "no gpu"),
        ("{{ run.id }}/{{ run.labels.team }}", "run_01/docs"),
        ("{{ item.k }}", "v"),
        ("{{ \"{{\" }} {{ '}}' }}", "{{ }}"),
        ("{{ {'a': {'b': 1}} }}", r#"{"a":{"b":1}}"#),
        ("{{ input.n + 1 }} {{ input.n * 2 }} {{ 7 // 2 }} {{ 2 ** 10 }}", "4 6 3 1024"),
        ("{{ 'x' * 3 ~ input.n }}", "xxx3"),
        ("{{ 'yes' if input.n > 2 and not input.flag else 'no' }}", "yes"),
        ("{{ input.list[0] }}{{ input.list[-1] }}{{ input.list[:2] }}", "32[3,1]"),
        ("{{ input.none }}", "Missing: `input.none` is null"),
        ("{{ input.nothing }}", "Missing: `input.nothing` is missing"),
        ("{{ input.nothing.deeper }}", "Missing: `input.nothing.deeper` is missing"),
        ("{{ tasks.nobody.output }}", "Missing: `tasks.nobody.output` is missing"),
        (
            "{{ tasks.broken.output }}",
            "Failed: a value of the run is not valid JSON: key must be a string at line 1 column 2",
        ),
        ("{{ 1 / 0 }}", "Failed: unable to calculate 1 / 0"),
        ("{{ 2 ** 100 }}", "Failed: the number does not fit in 64 bits"),
    ] {
        assert_eq!(text(source), expected, "{source}");
    }
}

#[test]
fn conditions_give_true_or_false_and_nothing_else() {
    for (source, expected) in [
        ("input.n == 3", "true"),
        ("input.flag", "false"),
        ("tasks.fetch.output.pages | length > 1", "true"),
        ("input.nothing is defined", "false"),
        ("input.topic is string and input.nothing is not defined", "true"),
        ("input.nothing | default(false)", "false"),
        ("input.none is none", "true"),
        ("'tea' in input.topic", "true"),
        ("input.n", "Failed: condition `input.n` gave a number, not true or false"),
        ("input.topic", "Failed: condition `input.topic` gave a string, not true or false"),
        ("input.nothing", "Missing: `input.nothing` is missing"),
        ("input.nothing == 1", "Missing: `input.nothing == 1` is missing"),
    ] {
        assert_eq!(condition(source), expected, "{source}");
    }
}

#[test]
fn each_filter_does_what_its_name_says() {
    for (source, expected) in [
        ("{{ -3 | abs }}", "3"),
        ("{{ input.nothing | default('d') }}{{ input.none | default(2) }}{{ input.n | default(9) }}", "d23"),
        ("{{ input.list | first }}{{ input.list | last }}", "32"),
        ("{{ '1.5' | float }} {{ '42' | int }} {{ 3.9 | int }}", "1.5 42 3"),
        ("{{ input.map | items }}", r#"[["z",1],["a",[true,null]]]"#),
        ("{{ input.list | join(', ') }}", "3, 1, 2"),
        ("{{ input.topic | json }} {{ input.none | tojson }}", r#""tea \"x\"" null"#),
        ("{{ input.map | keys }} {{ input.map | values }}", r#"["z","a"] [1,[true,null]]"#),
        ("{{ input.list | length }} {{ 'äö' | length }}", "3 2"),
        ("{{ 'aB' | lower }}{{ 'aB' | upper }}", "abAB"),
        ("{{ input.list | max }}{{ input.list | min }}", "31"),
        ("{{ 'a-b-c' | replace('-', '+') }}", "a+b+c"),
        ("{{ 2.567 | round(1) }} {{ 2.5 | round }}", "2.6 3.0"),
        ("{{ input.list | sort }} {{ input.list | sort(reverse=true) }}", "[1,2,3] [3,2,1]"),
        ("{{ input.text | split(',') }} {{ ' a  b ' | split }}", r#"["a","b","","c"] ["a","b"]"#),
        ("{{ input.list | string }}", "[3,1,2]"),
        ("{{ '  a ' | trim }}", "a"),
        ("{{ input.words | unique }}", r#"["b","a"]"#),
        ("{{ input.map | sort }}", "Failed: expected a list, got a map"),
        ("{{ [1, 'a'] | sort }}", "Failed: expected a list of texts, of numbers or of booleans, not a mixed one"),
        ("{{ 'a' | replace('', 'b') }}", "Failed: `replace` cannot replace nothing"),
        ("{{ 'abc' | int }}", "Failed: a string is no number"),
    ] {
        assert_eq!(text(source), expected, "{source}");
    }
}

#[test]
fn what_a_template_names_is_known_before_it_runs() {
    let template = Template::parse("{{ input.a }} {{ tasks['x-y'].output ~ tasks.z.status }} {{ run.id }} {{ input }}")
        .expect("good");
    let names: Vec<String> = template.names().map(|name| format!("{name:?}")).collect();
    assert_eq!(
        names,
        [
            r#"Input(Some("a"))"#,
            r#"Task { task: "x-y", part: Output }"#,
            r#"Task { task: "z", part: Status }"#,
            "Run",
            "Input(None)"
        ]
    );
}

/// A context is asked for nothing that the template does not name.
#[test]
fn only_what_is_named_is_read() {
    let labels = BTreeMap::new();
    let task = |name: &str| panic!("`{name}` was asked for");
    let context = Context { input: "{not json", task: &task, run_id: "run_01", labels: &labels, item: None };
    assert_eq!(Renderer::new(context).text("{{ run.id }}").as_deref(), Ok("run_01"));
}

/// However many templates name it, a part of a task is read once, and only that part.
#[test]
fn each_part_of_a_task_is_read_once() {
    let asked = std::cell::Cell::new(0);
    let labels = BTreeMap::new();
    let task = |_: &str| {
        asked.set(asked.get() + 1);
        Some(TaskFacts { status: "COMPLETED", output: Some("{not json"), error: None })
    };
    let mut renderer =
        Renderer::new(Context { input: "{}", task: &task, run_id: "run_01", labels: &labels, item: None });
    for _ in 0..3 {
        assert_eq!(renderer.text("{{ tasks.a.status }}").as_deref(), Ok("COMPLETED"));
    }
    assert_eq!(asked.get(), 1);
    assert!(renderer.text("{{ tasks.a.output }}").is_err());
}

/// What one template may do, a thousand may not do together.
#[test]
fn the_texts_of_one_task_share_a_budget() {
    for (source, expected) in [
        ("{{ 'x' * 60000 }}", "the texts of the task are longer than 1048576 bytes together"),
        ("{{ ('x' * 60000) | length }}", "the templates of the task do more work together than one task may"),
    ] {
        with_context(|context| {
            let mut renderer = Renderer::new(*context);
            let error = (0..TEMPLATES_MAX).find_map(|_| renderer.text(source).err());
            let error = error.unwrap_or_else(|| panic!("{source} was rendered {TEMPLATES_MAX} times"));
            assert_eq!((error.kind, error.message.as_str()), (TemplateErrorKind::TooLarge, expected));
        });
    }
    with_context(|context| {
        let mut renderer = Renderer::new(*context);
        for _ in 0..TEMPLATES_MAX {
            renderer.text("--topic={{ input.topic }}/{{ tasks.fetch.output.pages | length }}").expect("ordinary work");
        }
    });
}

#[test]
fn the_expression_that_failed_is_named() {
    for (source, expected) in [
        ("{{ input.map.b.c }}/{{ run.id }}", "Missing: `input.map.b.c` is missing"),
        ("{{ run.id }}/{{ input.topic | round }}", "Failed: `input.topic | round`: a string is no number"),
    ] {
        assert_eq!(text(source), expected, "{source}");
    }
}

/// A number comes out as it went in, however many digits it has.
#[test]
fn numbers_keep_their_digits() {
    let labels = BTreeMap::new();
    let task = |_: &str| None;
    let input = r#"{"score": 0.9452706955539223}"#;
    let context = Context { input, task: &task, run_id: "run_01", labels: &labels, item: None };
    assert_eq!(Renderer::new(context).text("{{ input.score }}").as_deref(), Ok("0.9452706955539223"));
}
