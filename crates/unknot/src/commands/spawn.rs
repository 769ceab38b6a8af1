//! `unknot spawn`: a task's script has a run of another workflow made, and perhaps waits for it.

use crate::{
    args::{Place, Spawn},
    config::{self, Config},
    door::{Door, exit_of},
    error::{Error, eprint_quietly},
    exit::Exit,
    inputs, workflow,
};
use serde_json::Value;
use std::{io::Write, path::Path};
use unknot_api::rest::{AtDeadline, ChildEnd, SpawnRequest, WaitFor, WaitOutcome, WorkflowChoice};

/// Spawns.
pub(crate) fn perform(spawn: &Spawn, out: &mut dyn Write) -> Result<Exit, Error> {
    let door = Door::open("spawn")?;
    let wish = wish(spawn)?;
    let spawned = door.ask("spawn the run", |client, attempt| {
        let wish = wish.clone();
        async move { client.attempt_spawn(&attempt, &wish).await }
    })?;
    if !spawn.wait {
        writeln!(out, "{}", spawned.run_id)?;
        return Ok(Exit::Success);
    }
    let key = spawned.key;
    let told = door.wait(WaitFor::Child { key: key.clone(), until: ChildEnd::Success }, None, AtDeadline::GiveUp)?;
    let child = told.children.get(&key);
    if told.outcome == WaitOutcome::Met {
        writeln!(out, "{}", child.map_or(&Value::Null, |child| &child.output))?;
    } else {
        let status = child.map_or("did not end in time", |child| child.status.as_str());
        eprint_quietly(&format!("unknot: run {} is {status}\n", spawned.run_id));
    }
    Ok(exit_of(&told))
}

/// A file that is there is meant as one; anything else is a name.
fn wish(spawn: &Spawn) -> Result<SpawnRequest, Error> {
    let flow = Path::new(&spawn.workflow);
    if !flow.is_file() && !spawn.workflow.contains(['/', '.']) {
        let input = inputs::read_unchecked(&spawn.input)?;
        return Ok(request(spawn, &spawn.workflow, WorkflowChoice::Name(spawn.workflow.clone()), input));
    }
    let config = Config::beside(flow, &Place::default())?;
    let checked = workflow::read(flow, &config)?;
    let choice = WorkflowChoice::Inline(workflow::as_json(flow, &config, &checked)?);
    let input = match inputs::read(&spawn.input, &checked.definition)? {
        Value::Object(input) => input,
        _ => serde_json::Map::new(),
    };
    let mut wish = request(spawn, &checked.definition.body.name, choice, input);
    wish.source = Some(config::absolute(flow).display().to_string());
    Ok(wish)
}

fn request(spawn: &Spawn, name: &str, workflow: WorkflowChoice, input: serde_json::Map<String, Value>) -> SpawnRequest {
    SpawnRequest {
        key: spawn.key.clone().unwrap_or_else(|| name.to_owned()),
        workflow,
        calls: Default::default(),
        input,
        detached: spawn.detach,
        labels: Default::default(),
        source: None,
    }
}
