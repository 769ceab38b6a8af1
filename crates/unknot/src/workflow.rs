//! The workflow file that was named on the command line.

use crate::{config::Config, error::Error};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};
use unknot_api::source::SOURCE_MAX;
use unknot_engine::convert::{self, Checked};

/// Reads and checks a workflow file by the rules of the configuration beside it.
///
/// # Errors
/// If it cannot be read, or is not sound.
pub(crate) fn read(flow: &Path, config: &Config) -> Result<Checked, Error> {
    let unreadable = |source| Error::WorkflowUnreadable { path: flow.to_path_buf(), source };
    let bytes = read_bounded(flow).map_err(unreadable)?;
    convert::read_workflow(flow, &bytes, &config.rules()).map_err(Error::File)
}

/// The bytes of a file that a person names, up to one more than any file may have: whoever reads them
/// refuses the rest, and a device that never ends fills no memory.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SOURCE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
