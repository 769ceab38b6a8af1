//! `unknot completions SHELL`.

use crate::{
    args::{Arguments, Completions},
    error::Error,
    exit::Exit,
};
use clap::CommandFactory;
use std::io::Write;

/// Prints the script. It is made in memory first: its generator does not expect a closed pipe.
pub(crate) fn perform(completions: &Completions, out: &mut dyn Write) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut Arguments::command(), "unknot", &mut script);
    out.write_all(&script)?;
    Ok(Exit::Success)
}
