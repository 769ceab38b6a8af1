//! One file for each command.

mod again;
mod alerts;
mod alone;
mod analyze;
mod cancel;
mod check;
mod completions;
mod config;
mod dead;
mod deadlocks;
mod events;
mod hold;
mod list;
mod lock;
mod logs;
mod ls;
mod pools;
mod registered;
mod run;
mod serve;

mod show;
mod signal;
mod spawn;
mod store;
mod submit;
mod token;
mod top;
mod unlock;
mod wait;
mod waits;
mod why;
mod worker;

use crate::{
    args::{Arguments, Command},
    error::Error,
    exit::Exit,
};
use serde_json::Value;
use std::io::{self, BufWriter, Write};
use unknot_engine::Engine;

/// Answers what is asked at the control socket of this process and is none of the engine's own wishes.
fn looks(engine: &Engine, request: &Value) -> Option<Value> {
    [why::answer, waits::answer, deadlocks::answer].iter().find_map(|answer| answer(engine, request))
}

/// Does what was asked for.
///
/// # Errors
/// Whatever stands in the way, for the user to read.
pub(crate) fn perform(arguments: Arguments) -> Result<Exit, Error> {
    let mut out = BufWriter::new(io::stdout());
    let exit = match arguments.command {
        Command::Run(run) => run::perform(&run, &mut out),
        Command::Serve(serve) => serve::perform(&serve, &mut out),
        Command::Worker(asked) => worker::perform(&asked, &mut out),
        Command::Config(config) => config::perform(&config.command, &mut out),
        Command::Submit(submit) => submit::perform(&submit, &mut out),
        Command::Check(check) => check::perform(&check, &mut out),
        Command::Analyze(asked) => analyze::perform(&asked, &mut out),
        Command::Ls(ls) => ls::perform(&ls, &mut out),
        Command::Show(show) => show::perform(&show, &mut out),
        Command::Logs(logs) => logs::perform(&logs, &mut out),
        Command::Events(events) => events::perform(&events, &mut out),
        Command::Cancel(cancel) => cancel::perform(&cancel, &mut out),
        Command::Why(asked) => why::perform(&asked, &mut out),
        Command::Signal(signal) => signal::perform(&signal.what, &mut out),
        Command::Pause(hold) => hold::pause(&hold.what, &mut out),
        Command::Resume(hold) => hold::resume(&hold.what, &mut out),
        Command::Top(top) => top::perform(&top, &mut out),
        Command::Queues(listing) => list::queues(&listing, &mut out),
        Command::Workers(listing) => list::workers(&listing, &mut out),
        Command::Pools(pools) => pools::perform(&pools, &mut out),
        Command::Lock(asked) => lock::perform(&asked, &mut out),
        Command::Unlock(asked) => unlock::perform(&asked),
        Command::Wait(asked) => wait::perform(&asked, &mut out),
        Command::Spawn(asked) => spawn::perform(&asked, &mut out),
        Command::Retry(retry) => again::retry(&retry, &mut out),
        Command::Decide(decide) => again::decide(&decide, &mut out),
        Command::Bulk(bulk) => again::bulk(&bulk, &mut out),
        Command::Workflow(workflow) => registered::perform(&workflow.command, &mut out),
        Command::Dead(dead) => dead::perform(&dead.command, &mut out),
        Command::Waits(asked) => waits::perform(&asked, &mut out),
        Command::Deadlocks(asked) => deadlocks::perform(&asked, &mut out),
        Command::Alerts(asked) => alerts::perform(&asked, &mut out),
        Command::Token(token) => token::perform(&token.command, &mut out),
        Command::Store(store) => store::perform(&store.command, &mut out),
        Command::Completions(completions) => completions::perform(&completions, &mut out),
    }?;
    // What a dropped buffer still holds would be lost without a word.
    match out.flush() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit),
        flushed => Ok(flushed.map(|()| exit)?),
    }
}
