//! Workflow files and what is said of them: each case is a file and the whole answer to it.
//!
//! The cases stand in `tests/workflow_files/*.txt`. After a change that is meant,
//! `UNKNOT_BLESS=1 cargo test -p unknot-engine --test workflow_files` writes the new answers;
//! read the difference before you commit it.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};
use unknot_core::validate::Rules;
use unknot_engine::convert::{Checked, read_workflow};

/// One case: `>>> name`, the file, `<<<`, the answer.
struct Case {
    name: String,
    file: String,
    answer: String,
}

fn rules() -> Rules {
    let pools = BTreeMap::from([("render".to_owned(), 4), ("gpu".to_owned(), 1)]);
    Rules { max_dependency_depth: 5, pools, ..Rules::default() }
}

fn answer(name: &str, bytes: &[u8]) -> String {
    match read_workflow(Path::new(name), bytes, &rules()) {
        Err(report) => report.to_string(),
        Ok(Checked { definition, warnings, .. }) => {
            let mut text = format!("ok: {} with {} tasks\n", definition.body.name, definition.body.tasks.len());
            write!(text, "{warnings}").expect("a string takes everything");
            text
        }
    }
}

fn parse(text: &str) -> Vec<Case> {
    let blocks = text.split(">>> ").skip(1);
    blocks
        .map(|block| {
            let (name, rest) = block.split_once('\n').expect("a name ends its line");
            let (file, answer) = rest.split_once("<<<\n").expect("`<<<` ends the file");
            Case { name: name.to_owned(), file: file.to_owned(), answer: answer.trim_end().to_owned() }
        })
        .collect()
}

/// Compares every case of a file, or writes its answers anew.
fn check(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("the case file is there");
    let header = text.split(">>> ").next().unwrap_or_default().to_owned();
    let mut blessed = header;
    let mut wrong = Vec::new();
    for case in parse(&text) {
        let given = answer(&case.name, case.file.as_bytes());
        let given = given.trim_end();
        if given != case.answer {
            wrong.push(format!(
                "{}: {}\n--- expected\n{}\n--- given\n{given}\n",
                path.display(),
                case.name,
                case.answer
            ));
        }
        write!(blessed, ">>> {}\n{}<<<\n{given}\n\n", case.name, case.file).expect("a string takes everything");
    }
    if std::env::var_os("UNKNOT_BLESS").is_some() {
        fs::write(path, blessed).expect("the case file can be written");
        return Vec::new();
    }
    wrong
}

#[test]
fn each_file_gets_its_answer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/workflow_files");
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("the folder of cases").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() > 5, "the cases are gone");
    let wrong: Vec<String> = paths.iter().flat_map(|path| check(path)).collect();
    assert!(wrong.is_empty(), "{}\nUNKNOT_BLESS=1 accepts the answers", wrong.join("\n"));
}

/// What cannot stand in a text file of cases: bytes.
#[test]
fn files_that_are_not_text_are_refused_at_their_place() {
    let cases: [(&str, &[u8], &str); 7] = [
        ("bytes.yaml", b"name: a\ntasks: {a: {exec: [\"caf\xE9\"]}}\n", "bytes.yaml:2:24: error[UK0102]"),
        ("bytes.json", b"\xFF\xFE{\x00}\x00", "bytes.json:1:1: error[UK0102]"),
        ("\x1b[2Jname.yaml", b"{", "·[2Jname.yaml:1:"),
        ("bom.yaml", b"\xEF\xBB\xBFname: a\ntasks: {a: {sleep: 0s}}\n", "ok: a with 1 tasks"),
        ("crlf.yaml", b"name: a\r\ntasks:\r\n  a: {slep: 0s}\r\n", "crlf.yaml:3:7: error[UK0106]"),
        ("tabs.yaml", b"name: a\ntasks:\n\ta: {sleep: 0s}\n", "indented by spaces, never by tabs"),
        ("nul.json", b"{\"name\": \"a\", \"tasks\": {\"a\": {\"exec\": [\"a\\u0000b\"]}}}", "error[UK0135]"),
    ];
    for (name, bytes, expected) in cases {
        let given = answer(name, bytes);
        assert!(given.contains(expected), "{name}: expected {expected}, given {given}");
    }
}

/// Whoever reads a file stops right behind the bound, so nothing may be dropped before the length is asked.
#[test]
fn a_file_that_was_cut_is_no_smaller_file() {
    let mut bytes = b"\xEF\xBB\xBFname: a\ntasks: {a: {sleep: 0s}}\n".to_vec();
    bytes.resize(unknot_api::source::SOURCE_MAX + 1, b'\n');
    assert!(answer("cut.yaml", &bytes).contains("error[UK0101]: the file is too large"));
}

/// Files built to eat memory or time: each is refused for what it is.
#[test]
fn files_beyond_a_bound_are_refused_by_name() {
    let laughs = (1..12).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
        let last = format!("*a{}", level - 1);
        format!("{text}a{level}: &a{level} [{}]\n", vec![last; 9].join(", "))
    });
    let chain: String = (1..8).map(|task| format!("  t{task}: {{sleep: 0s, needs: [t{}]}}\n", task - 1)).collect();
    let text = "x".repeat(1 << 20);
    let copies = format!("name: a\nlabels: [&a \"{text}\"{}]\n", ", *a".repeat(12));
    let nested = format!("name: a\nlabels: {}\"{text}\"{}\n", "&a [".repeat(15), "]".repeat(15));
    let cases = [
        ("laughs.yaml", laughs, "aliases make the file many times larger"),
        ("copies.yaml", copies, "aliases make the file many times larger"),
        ("nested.yaml", nested, "aliases make the file many times larger"),
        ("flow.yaml", format!("[{}", " ".repeat(2 << 20)), "more than 2097152 characters in one piece"),
        (
            "flow-below.yaml",
            format!("name: a\nlabels:\n- [{}", " ".repeat(3 << 20)),
            "flow-below.yaml:3:3: error[UK0101]",
        ),
        ("comma.yaml", format!("{{\"name\": \"{}\",}}", "x".repeat(3 << 20)), "JSON allows no comma behind"),
        ("deep.yaml", format!("name: {}", "[".repeat(100_000)), "nested too deep"),
        ("deep.json", "[".repeat(100_000), "nested too deep"),
        ("deep-map.json", r#"{"a":"#.repeat(100_000), "nested too deep"),
        ("deep-block.yaml", (0..100).map(|level| format!("{}a:\n", " ".repeat(level))).collect(), "nested too deep"),
        ("huge.yaml", format!("name: a\nmax_parallel: 1{}\n", "0".repeat(400)), "a whole number"),
        ("huge.json", format!(r#"{{"name": "a", "max_parallel": 1{}}}"#, "0".repeat(400)), "a whole number"),
        ("chain.yaml", format!("name: a\ntasks:\n  t0: {{sleep: 0s}}\n{chain}"), "a chain of 8 tasks"),
    ];
    for (name, text, expected) in cases {
        let given = answer(name, text.as_bytes());
        assert!(
            given.contains(expected),
            "{name}: expected {expected}, given {}",
            given.chars().take(500).collect::<String>()
        );
    }
}

/// What a file means decides its hash; how it is written does not.
#[test]
fn the_hash_is_of_the_meaning() {
    let hash = |name: &str, text: &str| {
        let checked = read_workflow(Path::new(name), text.as_bytes(), &rules()).expect("a good file");
        checked.definition.body.hash.0.clone()
    };
    let yaml = hash("a.yaml", "# a comment\nname: a\ntasks:\n  a: {exec: [echo, 1], env: {B: 2, A: 1}}\n");
    let json = hash("a.json", r#"{"tasks": {"a": {"env": {"A": "1", "B": "2"}, "exec": ["echo", "1"]}}, "name": "a"}"#);
    let other = hash("a.yaml", "name: a\ntasks:\n  a: {exec: [echo, 2], env: {B: 2, A: 1}}\n");
    assert_eq!(yaml, json);
    assert_ne!(yaml, other);
    assert_eq!(yaml.len(), 64);
}

/// The example of the reference is a good file.
#[test]
fn the_example_of_the_reference_passes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/workflow-files.md");
    let page = fs::read_to_string(path).expect("the reference");
    let example = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    assert_eq!(answer("example.yaml", example.as_bytes()), "ok: report with 4 tasks\n");
}
