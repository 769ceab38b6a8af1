//! Broken workflow files: no panic, no file that takes long, and every problem at a place that exists.
//!
//! Files come from the kept cases (`tests/workflow_files`), changed at random. Three seconds here;
//! `UNKNOT_FUZZ_SECONDS=60 UNKNOT_FUZZ_SEED=7 cargo test -p unknot-engine --test fuzz_workflow` runs
//! longer, from another seed. A failure prints its seed, step and file.
#![expect(clippy::disallowed_methods, reason = "tests are free of the bans")]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use unknot_core::{validate::Rules, workflow::Definition};
use unknot_engine::convert::read_workflow;

/// Pieces to put anywhere.
const PIECES: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ": ",
    ", ",
    "- ",
    "\n",
    "\n  ",
    "\t",
    "#",
    "&a ",
    "*a",
    "!t ",
    "|\n",
    ">\n",
    "'",
    "\"",
    "\\u",
    "\\x",
    "? ",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "<<: ",
    "@",
    "`",
    "null",
    "~",
    "1e999",
    "-0x1",
    "99999999999999999999d",
    "é😀",
    "\u{feff}",
    "\r",
    "\0",
    "{{ input.x }}",
    "needs: [a]",
    "\u{2028}",
];

/// The target: any bytes, as YAML and as JSON.
fn fuzz_workflow(bytes: &[u8]) {
    for name in ["fuzz.yaml", "fuzz.json"] {
        let start = Instant::now();
        match read_workflow(Path::new(name), bytes, &Rules::default()) {
            Ok(checked) => {
                let stored = serde_json::to_string(&*checked.definition).expect("a definition is JSON");
                let read: Definition = serde_json::from_str(&stored).expect("and is read back");
                assert_eq!(read, *checked.definition, "a definition changed on its way through the store");
            }
            Err(report) => {
                assert!(report.has_errors() && report.problems.len() <= 20, "{report}");
                let lines = String::from_utf8_lossy(bytes).split('\n').count();
                for problem in &report.problems {
                    let place = (problem.line, problem.column);
                    assert!(problem.line as usize <= lines, "{place:?} of {lines} lines: {report}");
                    assert!(problem.line > 0 && problem.column > 0, "{place:?}: {report}");
                }
                assert!(report.to_string().starts_with(name));
                serde_json::to_string(&report).expect("a report is JSON");
            }
        }
        assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
    }
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
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// The files of all kept cases.
fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/workflow_files");
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("the cases").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let text = fs::read_to_string(path).expect("a case file");
        let cases = text.split(">>> ").skip(1).filter_map(|block| block.split_once('\n')?.1.split_once("<<<\n"));
        files.extend(cases.map(|(file, _)| file.as_bytes().to_vec()));
    }
    files
}

fn change(file: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    let at = random.below(file.len() + 1);
    let end = (at + random.below(12)).min(file.len());
    match random.below(8) {
        0 => file.truncate(at),
        1 => drop(file.drain(at..end)),
        2 if at < file.len() => file[at] = random.next() as u8,
        3 => {
            let other = &others[random.below(others.len())];
            let from = random.below(other.len());
            let part = &other[from..(from + random.below(60)).min(other.len())];
            file.splice(at..end, part.iter().copied());
        }
        4 => {
            let piece = PIECES[random.below(PIECES.len())].repeat(1 + random.below(120));
            file.splice(at..at, piece.into_bytes());
        }
        5 => {
            let line: Vec<u8> = file[at..].iter().copied().take_while(|&byte| byte != b'\n').collect();
            file.splice(at..at, line.repeat(1 + random.below(5)));
        }
        _ => drop(file.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
    }
}

fn from_variable(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn broken_files_never_panic() {
    let seed = from_variable("UNKNOT_FUZZ_SEED", 1);
    let until = Instant::now() + Duration::from_secs(from_variable("UNKNOT_FUZZ_SECONDS", 3));
    let corpus = corpus();
    corpus.iter().for_each(|file| fuzz_workflow(file));
    let mut random = Random(seed);
    let mut step = 0u64;
    while Instant::now() < until {
        let mut file = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(6) {
            change(&mut file, &corpus, &mut random);
        }
        let outcome = std::panic::catch_unwind(|| fuzz_workflow(&file));
        assert!(outcome.is_ok(), "seed {seed}, step {step}: {:?}", String::from_utf8_lossy(&file));
        step += 1;
    }
    println!("{step} files from seed {seed}");
    assert!(step > 100, "too slow to have tested anything: {step}");
}
