//! Where the repository is, and how `cargo` is called in it.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

/// The work tree that this command belongs to, wherever in it the command was typed.
#[derive(Debug)]
pub(crate) struct Repository {
    root: PathBuf,
}

impl Repository {
    /// The tree of the manifest that cargo runs; else the one this binary was compiled in.
    pub(crate) fn here() -> Self {
        let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest).parent().expect("the xtask crate stands one folder below the root");
        Self { root: root.to_owned() }
    }

    /// The folder that holds the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder where cargo puts what it builds.
    pub(crate) fn target(&self) -> crate::Result<PathBuf> {
        let metadata = self.cargo(&["metadata", "--no-deps", "--offline", "--format-version", "1"]).output()?;
        let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout)?;
        metadata["target_directory"].as_str().map(PathBuf::from).ok_or_else(|| "cargo names no target folder".into())
    }

    /// `program` with `arguments`, to be run at the root.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.root);
        for name in env::vars_os().map(|(name, _)| name).filter(describes_xtask) {
            command.env_remove(name);
        }
        command
    }

    /// The cargo that runs us, with `arguments`.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        self.command(&cargo, arguments)
    }
}

/// Whether cargo set this variable to tell us about ourselves. A child that saw it would differ
/// from the same command typed in a shell, and build scripts that watch it would run again.
fn describes_xtask(name: &OsString) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
}
