//! `unknot pause|resume queue|workflow|run NAME`: holds something at a server, and lets it go on.

use crate::{
    args::{Held, Named},
    error::Error,
    exit::Exit,
    remote::Remote,
    source::Source,
};
use serde_json::json;
use std::io::Write;
use unknot_api::client::PauseTarget;

/// What is meant, by the name that the server knows.
struct Target {
    remote: Remote,
    kind: &'static str,
    name: String,
}

/// Holds.
pub(crate) fn pause(held: &Held, out: &mut dyn Write) -> Result<Exit, Error> {
    let (target, named) = find(held)?;
    let paused = target.remote.ask(target.attempt("pause"), target.remote.client().pause(target.target()))?;
    let Target { kind, name, remote } = &target;
    if named.json {
        writeln!(out, "{}", json!({*kind: name, "paused": true, "by": paused.by, "since": paused.since.ms}))?;
    } else {
        let again = format!("`unknot resume {kind} {name}{}` lets it go on", remote.option());
        writeln!(out, "{kind} {name} is held by {}: nothing new of it starts; {again}", paused.by)?;
    }
    Ok(Exit::Success)
}

/// Lets go on.
pub(crate) fn resume(held: &Held, out: &mut dyn Write) -> Result<Exit, Error> {
    let (target, named) = find(held)?;
    target.remote.ask(target.attempt("resume"), target.remote.client().resume(target.target()))?;
    let Target { kind, name, .. } = &target;
    if named.json {
        writeln!(out, "{}", json!({*kind: name, "paused": false}))?;
    } else {
        writeln!(out, "{kind} {name} goes on")?;
    }
    Ok(Exit::Success)
}

fn find(held: &Held) -> Result<(Target, &Named), Error> {
    let (kind, named) = match held {
        Held::Queue(named) => ("queue", named),
        Held::Workflow(named) => ("workflow", named),
        Held::Run(named) => ("run", named),
    };
    let remote = Remote::find(&named.at)?;
    let Held::Run(_) = held else {
        return Ok((Target { remote, kind, name: named.name.clone() }, named));
    };
    let mut source = Source::Server(Box::new(remote));
    let name = source.find(&named.name)?.summary.run_id;
    match source {
        Source::Server(remote) => Ok((Target { remote: *remote, kind, name }, named)),
        // It was made one above.
        Source::Store(_) => Err(Error::NoSuchRun { given: name, place: String::new() }),
    }
}

impl Target {
    fn target(&self) -> PauseTarget<'_> {
        match self.kind {
            "queue" => PauseTarget::Queue(&self.name),
            "workflow" => PauseTarget::Workflow(&self.name),
            _ => PauseTarget::Run(&self.name),
        }
    }

    fn attempt(&self, verb: &str) -> String {
        format!("{verb} {} `{}`", self.kind, self.name)
    }
}
