//! The page about the API: each of its lines does what it says.

use crate::support::{Ask, Served, stands};
use serde_json::{Value, json};

/// The words of a line, as a shell would take them apart.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for letter in line.chars() {
        match (letter, quote) {
            ('"' | '\'', None) => quote = Some(letter),
            (letter, Some(open)) if letter == open => quote = None,
            (' ', None) => words.push(String::new()),
            (letter, _) => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The request that a `curl` line means.
fn request(served: &Served, line: &str) -> Ask {
    let words = words(line);
    let mut words = words.iter().map(String::as_str);
    assert_eq!(words.next(), Some("curl"));
    let (mut method, mut headers, mut body, mut path) = ("GET", Vec::new(), None, None);
    while let Some(word) = words.next() {
        match word {
            "-X" => method = words.next().unwrap(),
            "-H" => headers.push(words.next().unwrap().split_once(": ").unwrap()),
            "-d" => body = words.next(),
            "-N" | "-s" => {}
            place => path = Some(place.strip_prefix("http://127.0.0.1:8001").unwrap()),
        }
    }
    let ask = served.ask(method, path.unwrap());
    let ask = headers.into_iter().fold(ask, |ask, (name, value)| ask.header(name, value));
    match body {
        Some(body) => ask.body(body),
        None => ask,
    }
}

/// An attempt that a worker elsewhere performs, with its token.
fn running_attempt(served: &Served, token: &str) -> (String, String) {
    let ask = |path: &str, body: Value| served.ask("POST", path).token(token).json(&body).send();
    ask("/runs", json!({"workflow": stands("performed", 1)})).is(201);
    let worker = json!({"protocol": 1, "name": "far", "boot": "1", "slots": 1, "kinds": ["exec"]});
    let session = ask("/workers", worker).is(201).json()["session"].clone();
    let work = ask("/workers/far/claim", json!({"session": session, "most": 1})).is(200).json()["work"][0].clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&work["assignment"]["attempt"]), text(&work["token"]))
}

#[test]
fn the_lines_about_verdicts_do_what_they_say() {
    let served = Served::closed();
    let token = std::fs::read_to_string(served.data().join("admin.token")).unwrap();
    let page = include_str!("../../../../docs/deadlocks.md");
    let lines: Vec<&str> = page.lines().filter(|line| line.starts_with("curl ")).collect();
    for line in &lines {
        let (line, status) = line.rsplit_once('#').unwrap_or_else(|| panic!("no status: {line}"));
        request(&served, &line.replace("$TOKEN", token.trim())).send().is(status.trim().parse().unwrap());
    }
    assert!(lines.len() > 4, "{lines:?}");
}

#[test]
fn every_line_of_the_page_does_what_it_says() {
    let served = Served::closed();
    let token = std::fs::read_to_string(served.data().join("admin.token")).unwrap();
    let page = include_str!("../../../../docs/api.md").replace("\\\n", "");
    let (attempt, own) = running_attempt(&served, token.trim());
    let mut run = String::new();
    let mut lines = 0;
    for line in page.lines().filter(|line| line.starts_with("curl ")) {
        let (line, status) = line.rsplit_once('#').unwrap_or_else(|| panic!("no status: {line}"));
        let line = line.replace("$TOKEN", token.trim()).replace("$RUN", &run);
        let line = line.replace("$UNKNOT_ATTEMPT_TOKEN", &own).replace("$UNKNOT_ATTEMPT", &attempt);
        let told = request(&served, &line).send().is(status.trim().parse().unwrap());
        if run.is_empty() && told.status == 201 {
            let created: Value = told.json();
            run = created["run_id"].as_str().unwrap().to_owned();
        }
        lines += 1;
    }
    assert!(lines > 15, "{lines}");
}
