//! Rules of a request: its address, its headers and its clocks.

use super::{
    Problem,
    draft::DraftTask,
    problem::{Code, Problems, clip, join_key},
};
use crate::{
    time::Millis,
    workflow::{Http, HttpRules},
};

/// Most redirects that a task may follow.
const REDIRECTS_MAX: u32 = 20;
/// Largest body that a task may take.
const BODY_BYTES_MAX: u64 = 1 << 40;
/// Headers that follow from the connection and the body.
const OURS: [&str; 5] = ["connection", "content-length", "te", "transfer-encoding", "upgrade"];

pub(super) fn check(task: &DraftTask, http: &Http, problems: &mut Problems) {
    let path = |rest: &str| format!("{}.{rest}", join_key("tasks", &task.name));
    let scheme = http.url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let is_absolute = scheme.is_some_and(|scheme| scheme == "http" || scheme == "https");
    // What a template gives is known, and judged, only when it is sent.
    if !http.url.starts_with("{{") && !is_absolute {
        problems.add(|| {
            Problem::new(Code::BadText, path("http.url"), format!("`{}` is no address to ask", clip(&http.url)))
                .expected("an address that begins with `http://` or `https://`")
        });
    }
    for (name, value) in &http.headers {
        check_header(name, value, &join_key(&path("http.headers"), name), problems);
    }
    check_rules(task, &http.rules, problems);
    if task.retry.on_exits.is_some() {
        problems.add(|| {
            Problem::new(Code::Range, path("retry.on_exits"), "a request has no exit status")
                .help("`http.expect` says which statuses count as success; of the others, 408, 425, 429 and 5xx are tried again")
        });
    }
}

fn check_header(name: &str, value: &str, path: &str, problems: &mut Problems) {
    let is_name = !name.is_empty() && name.bytes().all(is_token);
    if !is_name {
        problems.add(|| {
            Problem::new(Code::Name, path, format!("`{}` is no name for a header", clip(name)))
                .on_key()
                .expected("letters, digits and hyphens, such as `x-request-id`")
        });
    }
    if OURS.contains(&name.to_ascii_lowercase().as_str()) {
        problems.add(|| {
            Problem::new(Code::Name, path, format!("the header `{name}` follows from the request and cannot be set"))
                .on_key()
                .help("leave it out")
        });
    }
    if value.chars().any(|letter| letter.is_control() && letter != '\t') {
        problems
            .add(|| Problem::new(Code::BadText, path, "a line break or control character cannot stand in a header"));
    }
}

/// What a header's name is made of (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn check_rules(task: &DraftTask, rules: &HttpRules, problems: &mut Problems) {
    let path = |rest: &str| format!("{}.http.{rest}", join_key("tasks", &task.name));
    let clocks =
        [("connect", rules.connect), ("headers", rules.headers), ("first_byte", rules.first_byte), ("gap", rules.gap)];
    for (key, clock) in clocks.into_iter().filter(|(_, clock)| *clock == Millis(0)) {
        problems.add(|| {
            Problem::new(Code::Range, path(&format!("timeouts.{key}")), format!("`{key}` {clock} leaves no time"))
                .expected("at least 1ms")
        });
    }
    // A clock that nobody set is no longer than the attempt, so one that is was set.
    for (key, clock) in clocks {
        if let Some(timeout) = task.timeout.filter(|timeout| clock > *timeout) {
            problems.add(|| {
                let message = format!("`{key}` {clock} can never be reached within `timeout` {timeout}");
                Problem::new(Code::Limits, path(&format!("timeouts.{key}")), message)
            });
        }
    }
    if rules.redirects_max > REDIRECTS_MAX {
        problems.add(|| {
            Problem::new(Code::Range, path("redirects"), format!("{} redirects are too many", rules.redirects_max))
                .expected(format!("at most {REDIRECTS_MAX}"))
        });
    }
    if !(1..=BODY_BYTES_MAX).contains(&rules.body_bytes_max) {
        problems
            .add(|| Problem::new(Code::Range, path("max_body"), "no body can be so long").expected("from 1B to 1TiB"));
    }
}
