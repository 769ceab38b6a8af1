//! `unknot spawn WORKFLOW|FILE`: a run that belongs to the task that this is a part of.

use crate::{
    args::Spawn,
    attempt::{Attempt, Heard, Waited, unique_name},
    calls::Beside,
    config::{self, Config},
    error::{Error, eprint_quietly},
    exit::Exit,
    inputs,
    output::harmless,
    source::read_word,
    workflow,
};
use serde_json::{Map, Value};
use std::{env, io::Write, path::Path};
use unknot_api::{
    client::Address,
    rest::{AtDeadline, ChildEnd, EndedChild, SpawnRequest, WaitFor, WaitOutcome, WaitRequest, WorkflowChoice},
};
use unknot_engine::{core::run::RunStatus, secrets::hash};

/// What to do outside of a task.
const INSTEAD: &str = "`unknot run FILE` and `unknot submit FILE|NAME` begin runs of their own";
/// Bytes of a workflow's name in a key that is made of it.
const NAME_IN_KEY_MAX: usize = 80;
/// Digits of a digest in a key: of ever so many runs no two have the same by chance.
const DIGITS: usize = 32;

/// Spawns, and waits for the end if that is wanted.
pub(crate) fn perform(asked: &Spawn, out: &mut dyn Write) -> Result<Exit, Error> {
    let attempt = Attempt::here("spawn", INSTEAD)?;
    // Before anything is spawned: a signal afterwards shall not leave somebody without its id.
    let heard = if asked.wait { Some(Heard::listen()?) } else { None };
    let request = request(asked, &attempt)?;
    let spawned = attempt.spawn(&request)?;
    if spawned.existing && env::var("UNKNOT_TRY").is_ok_and(|number| number == "1") {
        // In a later try that is what a key is for; in the first one somebody may have meant another run.
        let (key, run) = (harmless(&spawned.key), &spawned.run_id);
        eprint_quietly(&format!(
            "note: {run} has the key `{key}` and is found again; another run needs another --key\n"
        ));
    }
    let Some(heard) = heard else {
        writeln!(out, "{}", spawned.run_id)?;
        return Ok(Exit::Success);
    };
    let wait = WaitRequest {
        name: unique_name(&format!("spawn {}", spawned.key))?,
        awaited: WaitFor::Child { key: spawned.key.clone(), until: ChildEnd::Terminal },
        within: asked.within,
        then: AtDeadline::GiveUp,
    };
    match attempt.wait(wait, &heard)? {
        Waited::Cut(number) => Ok(Exit::by_signal(number)),
        Waited::Over(mut result) => match result.children.remove(&spawned.key) {
            Some(ended) if result.outcome == WaitOutcome::Met => tell(&ended, out),
            _ => {
                eprint_quietly(&format!("{} has not ended in time; it goes on\n", spawned.run_id));
                Ok(Exit::NotInTime)
            }
        },
    }
}

fn tell(ended: &EndedChild, out: &mut dyn Write) -> Result<Exit, Error> {
    let exit = read_word::<RunStatus>(&ended.status).map_or(Exit::Environment, Exit::of);
    match exit {
        Exit::Success => writeln!(out, "{}", ended.output)?,
        _ => eprint_quietly(&format!("{} ended as {}: `unknot show {0}` says why\n", ended.run_id, ended.status)),
    }
    Ok(exit)
}

/// A file that is there is meant as one; anything else is a name.
fn request(asked: &Spawn, attempt: &Attempt) -> Result<SpawnRequest, Error> {
    let flow = Path::new(&asked.workflow);
    let is_file = flow.is_file() || asked.workflow.contains(['/', '.']);
    let mut request = SpawnRequest {
        key: String::new(),
        workflow: WorkflowChoice::Name(asked.workflow.clone()),
        calls: Default::default(),
        input: Map::new(),
        detached: asked.detach,
        labels: asked.label.iter().cloned().collect(),
        source: None,
    };
    let name = match is_file {
        true => from_file(asked, flow, attempt, &mut request)?,
        false => {
            request.input = with_json(asked, inputs::read_unchecked(&asked.input)?)?;
            asked.workflow.clone()
        }
    };
    request.key = asked.key.clone().unwrap_or_else(|| key(&name, &request.input));
    Ok(request)
}

/// Takes the file over into the request; gives the workflow's name.
fn from_file(asked: &Spawn, flow: &Path, attempt: &Attempt, request: &mut SpawnRequest) -> Result<String, Error> {
    let config = Config::beside(flow, &Default::default())?.with_any_pools();
    let checked = workflow::read(flow, &config)?;
    let typed = inputs::read_partly(&asked.input, &checked.definition)?;
    request.input = with_json(asked, typed)?;
    request.workflow = WorkflowChoice::Inline(workflow::as_json(flow, &config, &checked)?);
    request.calls = Beside::new(flow, &config, &checked).documents()?;
    let is_here = matches!(attempt.address(), Address::Local(_));
    request.source = is_here.then(|| config::absolute(flow).display().to_string());
    Ok(checked.definition.body.name.to_string())
}

/// What was typed on top of what `--input-json` says.
fn with_json(asked: &Spawn, typed: Map<String, Value>) -> Result<Map<String, Value>, Error> {
    let Some(text) = &asked.input_json else { return Ok(typed) };
    let given = text.chars().take(80).collect::<String>();
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map.into_iter().chain(typed).collect()),
        Ok(_) => Err(Error::Input { given, problem: "it is no JSON object".to_owned() }),
        Err(error) => Err(Error::Input { given, problem: format!("it is not JSON: {error}") }),
    }
}

/// The same workflow with the same inputs is the same run: what a script that is tried again means.
fn key(name: &str, input: &Map<String, Value>) -> String {
    let mut input = Value::Object(input.clone());
    input.sort_all_objects();
    let name: String = name.chars().take(NAME_IN_KEY_MAX).collect();
    format!("{name}-{}", &hash(&input.to_string())[..DIGITS])
}
