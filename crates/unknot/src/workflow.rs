//! The workflow file that was named on the command line.

use crate::{config::Config, error::Error};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};
use unknot_api::source::SOURCE_MAX;
use unknot_engine::convert::{self, Checked};

/// What stands for standard input where a file is named.
const STANDARD_INPUT: &str = "-";

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
/// refuses the rest. `-` is standard input; anything else must be a file: to open a pipe is to wait for whoever
/// may never write into it.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = SOURCE_MAX as u64 + 1;
    if path == Path::new(STANDARD_INPUT) {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    let kind = path.metadata()?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        let message = "it is a pipe or a device; `-` reads standard input";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
