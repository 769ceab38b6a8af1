//! Random templates: no panic, no template that takes long, and a check that never lies.
//!
//! Two seconds here; `UNKNOT_FUZZ_SECONDS=60 UNKNOT_FUZZ_SEED=7 cargo test -p unknot-core --test
//! fuzz_template` runs longer, from another seed. A failure prints its seed and step.
#![expect(clippy::disallowed_methods, reason = "tests are free of the bans")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use unknot_core::template::{Context, Renderer, TaskFacts, Template, TemplateErrorKind};

/// Pieces that meet in templates; what grew interesting once is kept here.
const WORDS: [&str; 62] = [
    "{{",
    "}}",
    "{{ ",
    " }}",
    "{%",
    "{#",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ".",
    ",",
    ":",
    "|",
    "~",
    "+",
    "-",
    "*",
    "**",
    "/",
    "//",
    "%",
    "==",
    "!=",
    "<=",
    "=",
    "!",
    "'",
    "\"",
    "\\",
    " ",
    "\n",
    "input",
    "tasks",
    "run",
    "item",
    "a",
    "id",
    "output",
    "'a'",
    "\"x-y\"",
    "0",
    "1.5",
    "9e999",
    "1_0",
    "0x1",
    "99999999999999999999999999999999999999999",
    "not",
    "and",
    "in",
    "is",
    "if",
    "else",
    "none",
    "defined",
    "default",
    "join",
    "sort",
    "é😀",
    "\0",
];

/// The target: whatever text it is given, nothing but a result or an error comes back, soon.
fn fuzz_template(source: &str) {
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let task = |name: &str| {
        (name != "gone").then_some(TaskFacts {
            status: "COMPLETED",
            output: Some(r#"{"a": [1, "x", {"b": null}]}"#),
            error: None,
        })
    };
    let input = r#"{"a": "text", "id": 7, "output": [3, 1, 2], "x-y": {"a": true}}"#;
    let context = Context { input, task: &task, run_id: "run_01", labels: &labels, item: Some("[1]") };
    let start = Instant::now();
    let parsed = Template::parse(source);
    let rendered = Renderer::new(context).text(source);
    if let (Err(_), Ok(_)) = (&parsed, &rendered) {
        panic!("a template that no check lets pass was rendered");
    }
    if let (Ok(_), Err(error)) = (&parsed, &rendered) {
        let at_run_time = !matches!(error.kind, TemplateErrorKind::Name | TemplateErrorKind::HyphenPath);
        assert!(at_run_time, "a check missed: {error}");
    }
    if Template::parse_condition(source).is_err() {
        assert!(Renderer::new(context).condition(source).is_err(), "a condition that no check lets pass was evaluated");
    }
    assert!(start.elapsed() < Duration::from_millis(500), "took {:?}", start.elapsed());
}

/// A generator whose whole state is a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// A template out of words; about half begin as an expression, so that deeper code is reached.
fn template(random: &mut Random) -> String {
    let length = 1 + random.below(24);
    let word = |random: &mut Random| WORDS[random.below(WORDS.len())];
    let mut text = if random.below(2) == 0 { "{{ input.".to_owned() } else { String::new() };
    for _ in 0..length {
        let repeat = if random.below(40) == 0 { random.below(300) } else { 1 };
        text.push_str(&word(random).repeat(repeat));
        if random.below(3) == 0 {
            text.push(' ');
        }
    }
    if text.starts_with("{{") && random.below(4) > 0 {
        text.push_str(" }}");
    }
    text
}

fn from_variable(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn random_templates_never_panic() {
    let seed = from_variable("UNKNOT_FUZZ_SEED", 1);
    let until = Instant::now() + Duration::from_secs(from_variable("UNKNOT_FUZZ_SECONDS", 2));
    let mut random = Random(seed);
    let mut step = 0u64;
    while Instant::now() < until {
        let source = template(&mut random);
        let outcome = std::panic::catch_unwind(|| fuzz_template(&source));
        assert!(outcome.is_ok(), "seed {seed}, step {step}: {source:?}");
        step += 1;
    }
    println!("{step} templates from seed {seed}");
    assert!(step > 100, "too slow to have tested anything: {step}");
}
