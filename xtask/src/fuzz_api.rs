//! `cargo xtask fuzz-api`: a public fuzzer against our own server, by the document that the server gives of itself.
//!
//! It installs schemathesis and a validator of OpenAPI documents below the target folder, starts a server of its own
//! there, and goes on round by round until so many calls were made: rounds without knowledge, and rounds that know
//! runs, tasks and names that exist. Not part of `check`: it needs the Python registry and minutes.

mod server;

use crate::{Result, child, repository::Repository};
use serde_json::{Value, json};
use server::Server;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// What is installed; the versions are those that the API was held to.
const PACKAGES: [&str; 2] = ["schemathesis==4.32.5", "openapi-spec-validator==0.9.0"];
/// Fetching and installing them.
const INSTALL_LIMIT: Duration = Duration::from_secs(600);
/// The build before.
const BUILD_LIMIT: Duration = Duration::from_secs(1_800);
/// One round.
const ROUND_LIMIT: Duration = Duration::from_secs(900);
/// How often the known attempt's lease is renewed: several times in a session of the server's.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// Calls, unless asked otherwise.
const CALLS: u64 = 10_000;
/// Generated cases of an operation in each phase of a round.
const EXAMPLES: &str = "40";
/// What must hold of each answer. Not among them: that whatever fits the document is accepted, since most of what
/// makes a workflow sound is said in words; and that what was deleted is gone, since `DELETE …/cancel` forces an end.
const CHECKS: [&str; 10] = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "missing_required_header",
    "ensure_resource_availability",
];

/// Installs, starts, calls, judges.
pub(crate) fn run(repository: &Repository, arguments: &[String]) -> Result<()> {
    let calls = asked(arguments)?;
    let target = repository.target()?;
    let folder = target.join("fuzz-api");
    let tools = install(repository, &folder.join("python"))?;
    // With the checks of a debug build: an overflow is a finding.
    child::run(&mut repository.cargo(&["build", "-p", "unknot"]), BUILD_LIMIT)?;
    let server = Server::start(repository, &target.join("debug/unknot"), &folder)?;
    let document = folder.join("openapi.json");
    fs::write(&document, server.ask("GET", "/openapi.json", None)?.to_string())?;
    let document = document.display().to_string();
    child::run(
        &mut repository.command(&tools.join("openapi-spec-validator").display().to_string(), &[&document]),
        ROUND_LIMIT,
    )?;
    let mut made = 0;
    let mut round = 0_u64;
    while made < calls {
        round += 1;
        let round_of = || attack(repository, &tools, &server, &folder, round);
        made += if round.is_multiple_of(2) {
            let known = known(&server)?;
            configure(&folder, &known)?;
            while_renewed(&server, &known.lease, round_of)?
        } else {
            configure(&folder, &Known::default())?;
            round_of()?
        };
        let health = server.ask("GET", "/health", None)?;
        if health["status"] != "ok" {
            return Err(format!("after {made} calls the server says `{health}`").into());
        }
        println!("{made} calls, nothing found");
    }
    Ok(())
}

fn asked(arguments: &[String]) -> Result<u64> {
    match arguments {
        [] => Ok(CALLS),
        [word, number] if word == "--calls" => Ok(number.parse().map_err(|_| "`--calls` needs a number")?),
        _ => Err("fuzz-api takes `--calls N`".into()),
    }
}

/// The folder of the installed programs.
fn install(repository: &Repository, environment: &Path) -> Result<PathBuf> {
    let tools = environment.join("bin");
    let call = |program: &Path, arguments: &[&str]| {
        child::run(&mut repository.command(&program.display().to_string(), arguments), INSTALL_LIMIT)
    };
    if !tools.join("pip").exists() {
        let place = environment.display().to_string();
        call(Path::new("python3"), &["-m", "venv", &place])
            .map_err(|error| format!("{error}; the Debian package `python3-venv` has what is needed"))?;
    }
    let wanted: Vec<&str> = ["install", "--quiet", "--disable-pip-version-check"].into_iter().chain(PACKAGES).collect();
    call(&tools.join("pip"), &wanted)?;
    Ok(tools)
}

/// What exists: calls with it meet more than a 404.
#[derive(Default)]
struct Known {
    /// Parameters of paths.
    parameters: Vec<(&'static str, String)>,
    /// The token of an attempt that has its lease.
    token: String,
    /// What its worker sends to keep it.
    lease: Value,
}

fn known(server: &Server) -> Result<Known> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let flow = json!({"workflow": {"name": "known", "tasks": {"a": {"sleep": "1h"}, "b": {"needs": ["a"], "exec": ["true"]}}}});
    server.ask("POST", "/workflows", Some(&flow))?;
    let run = text(&server.ask("POST", "/runs", Some(&flow))?["run_id"]);
    let tasks = server.ask("GET", &format!("/runs/{run}/tasks"), None)?;
    // With more room than the server's own worker, so the task comes to it.
    let worker =
        json!({"protocol": 1, "name": "fuzzed", "boot": "1", "slots": 10_000, "queues": ["far"], "kinds": ["exec"]});
    let session = text(&server.ask("POST", "/workers", Some(&worker))?["session"]);
    let far = json!({"workflow": {"name": "far", "tasks": {"a": {"exec": ["true"], "queue": "far"}}}});
    server.ask("POST", "/runs", Some(&far))?;
    let claimed = server.ask("POST", "/workers/fuzzed/claim", Some(&json!({"session": session, "most": 1})))?;
    let handed = &claimed["work"][0];
    let names = [
        ("queue", "default"),
        ("workflow", "known"),
        ("hash", "latest"),
        ("code", "UK0404"),
        ("name", "fuzzed"),
        ("pool", "render"),
        ("signal", "go"),
    ];
    let ids = [
        ("run_id", run),
        ("task_id", text(&tasks["items"][0]["task_id"])),
        ("attempt_id", text(&handed["assignment"]["attempt"])),
    ];
    let names = names.into_iter().map(|(name, value)| (name, value.to_owned()));
    let token = text(&handed["token"]);
    if token.is_empty() {
        return Err(format!("a worker that claims work is told `{claimed}`: no attempt, and no token of one").into());
    }
    let held =
        json!({"attempt": handed["assignment"]["attempt"], "fence": handed["assignment"]["fence"], "is_started": true});
    let lease = json!({"session": session, "held": [held]});
    Ok(Known { parameters: names.chain(ids).collect(), token, lease })
}

/// Acts while the known attempt keeps its lease: without, all that its token meets after some seconds is a 401.
fn while_renewed<T>(server: &Server, lease: &Value, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let (done, is_done) = mpsc::sync_channel::<()>(1);
    thread::scope(|scope| {
        let renewing = scope.spawn(move || {
            let mut is_told = false;
            while is_done.recv_timeout(RENEW_EVERY) == Err(RecvTimeoutError::Timeout) {
                let told =
                    server.ask("POST", "/workers/fuzzed/renew", Some(lease)).map_err(|error| error.to_string())?;
                let Some(orders) = told["orders"].as_array() else {
                    return Err(format!("the known attempt's lease was not renewed: `{told}`"));
                };
                // The fuzzer may have had it cancelled; it goes on as long as its ladder takes.
                if !is_told && !orders.is_empty() {
                    println!("the known attempt is to end during the round: `{told}`");
                    is_told = true;
                }
            }
            Ok(())
        });
        let acted = act();
        drop(done);
        let renewed = renewing.join().map_err(|_| "the renewal panicked")?;
        let acted = acted?;
        renewed?;
        Ok(acted)
    })
}

fn configure(folder: &Path, known: &Known) -> Result<()> {
    let parameters = known.parameters.iter().map(|(name, value)| format!("\"path.{name}\" = \"{value}\"\n"));
    // A worker is there for its own session alone: under another one it is not found.
    let workers = "[[operations]]\ninclude-path-regex = \"^/workers/\"\n\
                   checks = { ensure_resource_availability = { enabled = false } }\n";
    // A wait that goes on is told so before the fuzzer gives up.
    let attempts = format!(
        "[[operations]]\ninclude-path-regex = \"^/attempts/\"\nheaders = {{ Authorization = \"Bearer {}\" }}\n\
         parameters = {{ \"query.wait\" = \"20ms\" }}\n",
        known.token
    );
    let checks: String = CHECKS.iter().map(|check| format!("{check}.enabled = true\n")).collect();
    let parameters: String = parameters.collect();
    let text = format!("[checks]\nenabled = false\n{checks}[parameters]\n{parameters}{workers}{attempts}");
    Ok(fs::write(folder.join("schemathesis.toml"), text)?)
}

/// One round; how many calls it made.
fn attack(repository: &Repository, tools: &Path, server: &Server, folder: &Path, round: u64) -> Result<u64> {
    let (config, report) = (folder.join("schemathesis.toml"), folder.join("report.json"));
    let (config, report) = (config.display().to_string(), report.display().to_string());
    let (place, seed) = (format!("http://{}/openapi.json", server.address()), round.to_string());
    let arguments = [
        "--no-color",
        "--config-file",
        &config,
        "run",
        &place,
        "--request-timeout",
        "10",
        "--max-examples",
        EXAMPLES,
        "--seed",
        &seed,
        "--continue-on-failure",
        "--warnings",
        "off",
        "--report",
        "json",
        "--report-json-path",
        &report,
    ];
    let mut command = repository.command(&tools.join("schemathesis").display().to_string(), &arguments);
    child::run(command.current_dir(folder), ROUND_LIMIT)?;
    let told: Value = serde_json::from_str(&fs::read_to_string(&report)?)?;
    calls_of(&told).ok_or_else(|| format!("`{report}` does not say how many calls were made").into())
}

/// How many calls a report tells of.
fn calls_of(report: &Value) -> Option<u64> {
    report.pointer("/test_cases/generated")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_asked_for_and_counted() {
        let words = |words: &[&str]| asked(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&[]).unwrap(), CALLS);
        assert_eq!(words(&["--calls", "7"]).unwrap(), 7);
        for wrong in [&["--calls"][..], &["--calls", "few"], &["--seeds", "1"]] {
            assert!(words(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(calls_of(&json!({"test_cases": {"generated": 1932}})), Some(1_932));
        assert_eq!(calls_of(&json!({})), None);
    }
}
