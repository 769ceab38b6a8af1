//! The workflow file that was named on the command line.

use crate::{config::Config, error::Error};
use std::{fs, path::Path};
use unknot_engine::convert::{self, Checked};

/// Reads and checks a workflow file by the rules of the configuration beside it.
///
/// # Errors
/// If it cannot be read, or is not sound.
pub(crate) fn read(flow: &Path, config: &Config) -> Result<Checked, Error> {
    let unreadable = |source| Error::WorkflowUnreadable { path: flow.to_path_buf(), source };
    let bytes = fs::read(flow).map_err(unreadable)?;
    convert::read_workflow(flow, &bytes, &config.rules()).map_err(Error::File)
}
