//! `unknot workflow add|ls|show|rm`: workflows that a server keeps under their names.

use super::list;
use crate::{
    args::{Listing, WorkflowCommand},
    config::Config,
    error::{Error, eprint_quietly},
    exit::Exit,
    output::{Tone, harmless},
    remote::Remote,
    source::stamp,
    table::{Cell, Column, Table},
    time, workflow,
};
use serde_json::json;
use std::{io::Write, path::Path};
use unknot_api::rest::{ProofVerdict, Registered, RegisteredVersion};
use unknot_engine::{Clock, core::Timestamp};

/// Items of one part of the list.
const PART: usize = 1_000;
/// Letters of a hash that are shown: enough to name a version.
const HASH_LETTERS: usize = 12;

/// Does what was asked for.
pub(crate) fn perform(command: &WorkflowCommand, out: &mut dyn Write) -> Result<Exit, Error> {
    match command {
        WorkflowCommand::Add { flow, listing } => add(flow, listing, out),
        WorkflowCommand::Ls(listing) => ls(listing, out),
        WorkflowCommand::Show { name, listing } => show(name, listing, out),
        WorkflowCommand::Rm { name, at } => {
            let remote = Remote::find(at)?;
            remote.ask(format!("forget the workflow `{name}`"), remote.client().forget_workflow(name))?;
            writeln!(out, "{name} is forgotten; its runs are as they were")?;
            Ok(Exit::Success)
        }
    }
}

fn add(flow: &Path, listing: &Listing, out: &mut dyn Write) -> Result<Exit, Error> {
    let remote = Remote::find(&listing.at)?;
    let config = Config::beside(flow, &listing.at.place)?.with_any_pools();
    let checked = workflow::read(flow, &config)?;
    if !checked.warnings.problems.is_empty() {
        eprint_quietly(&checked.warnings.to_string());
    }
    let document = workflow::as_json(flow, &config, &checked)?;
    let attempt = format!("register `{}`", flow.display());
    let registered = remote.ask(attempt, remote.client().register_workflow(document))?;
    if listing.json {
        writeln!(out, "{}", json!(registered))?;
    } else {
        let proof = registered.proof.as_ref().filter(|_| !registered.warnings.is_empty());
        if let Some(proof) = proof.filter(|proof| proof.verdict == ProofVerdict::Unsafe) {
            let said = proof.said.iter().map(|line| format!("  {}\n", harmless(line))).collect::<String>();
            eprint_quietly(&format!("warning[UK0430]: runs of this workflow can wait for each other for ever\n{said}"));
        }
        let (name, hash) = (harmless(&registered.name), short(&registered.hash));
        writeln!(out, "{name} is registered as {hash}; `unknot submit {name}{}` runs it", remote.option())?;
    }
    Ok(Exit::Success)
}

fn ls(listing: &Listing, out: &mut dyn Write) -> Result<Exit, Error> {
    let remote = Remote::find(&listing.at)?;
    let mut found: Vec<Registered> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = remote.ask("list workflows", remote.client().workflows(after.as_deref(), PART))?;
        found.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let rows = || table(found.iter().filter_map(|one| Some((one.name.as_str(), one.versions.first()?))));
    list::print(listing.json, &found, "workflows: `unknot workflow add FLOW` registers one", rows, out)
}

fn show(name: &str, listing: &Listing, out: &mut dyn Write) -> Result<Exit, Error> {
    let remote = Remote::find(&listing.at)?;
    let found = remote.ask(format!("show the workflow `{name}`"), remote.client().workflow(name))?;
    if listing.json {
        writeln!(out, "{}", json!(found))?;
        return Ok(Exit::Success);
    }
    let rows = || table(found.versions.iter().map(|version| (found.name.as_str(), version)));
    list::print(false, &found.versions, "versions", rows, out)
}

fn table<'r>(rows: impl Iterator<Item = (&'r str, &'r RegisteredVersion)>) -> Table {
    let now = Clock::starting_at_least(Timestamp::default()).now();
    let mut table = Table::new(&[
        ("WORKFLOW", Column::Shrinks(8)),
        ("VERSION", Column::Whole),
        ("WHEN", Column::Right),
        ("BY", Column::Shrinks(4)),
    ]);
    for (name, version) in rows {
        table.row(vec![
            name.into(),
            short(&version.hash).into(),
            time::ago(now, stamp(version.registered_at)).into(),
            Cell::new(Tone::Faint, version.by.as_str()),
        ]);
    }
    table
}

fn short(hash: &str) -> &str {
    hash.get(..HASH_LETTERS).unwrap_or(hash)
}
