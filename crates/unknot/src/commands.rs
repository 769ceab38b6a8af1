//! One file for each command.

mod cancel;
mod check;
mod completions;
mod config;
mod logs;
mod ls;
mod run;
mod serve;
mod show;
mod store;

use crate::{
    args::{Arguments, Command},
    error::Error,
    exit::Exit,
};
use std::io::{self, BufWriter, Write};

/// Does what was asked for.
///
/// # Errors
/// Whatever stands in the way, for the user to read.
pub(crate) fn perform(arguments: Arguments) -> Result<Exit, Error> {
    let mut out = BufWriter::new(io::stdout());
    let exit = match arguments.command {
        Command::Run(run) => run::perform(&run, &mut out),
        Command::Serve(serve) => serve::perform(&serve, &mut out),
        Command::Config(config) => config::perform(&config.command, &mut out),
        Command::Check(check) => check::perform(&check, &mut out),
        Command::Ls(ls) => ls::perform(&ls, &mut out),
        Command::Show(show) => show::perform(&show, &mut out),
        Command::Logs(logs) => logs::perform(&logs, &mut out),
        Command::Cancel(cancel) => cancel::perform(&cancel, &mut out),
        Command::Store(store) => store::perform(&store.command, &mut out),
        Command::Completions(completions) => completions::perform(&completions, &mut out),
    }?;
    // What a dropped buffer still holds would be lost without a word.
    match out.flush() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit),
        flushed => Ok(flushed.map(|()| exit)?),
    }
}
