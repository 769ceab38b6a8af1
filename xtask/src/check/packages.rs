//! Step `packages`: the Debian packages without which the build or a test cannot run.

use super::{MINUTE, Outcome};
use crate::{Result, child, repository::Repository};
use std::{env, process::Command};

/// A Debian package and the program by which its presence is known, however it was installed.
struct Package {
    name: &'static str,
    program: &'static str,
    used_for: &'static str,
}

/// The one list of what a machine needs beside Rust.
const PACKAGES: &[Package] = &[
    Package { name: "build-essential", program: "cc", used_for: "compiling the embedded SQLite" },
    Package { name: "procps", program: "ps", used_for: "tests that look for processes left over" },
    Package { name: "sqlite3", program: "sqlite3", used_for: "tests that read the store as a person does" },
    Package { name: "tmux", program: "tmux", used_for: "tests of the progress display on a real terminal" },
    Package { name: "util-linux", program: "unshare", used_for: "tests on full and read-only disks, and `setsid`" },
];

/// Passes when each program is there; installs what is missing when it may.
pub(super) fn check(repository: &Repository) -> Result<Outcome> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(Outcome::Passed);
    }
    for package in &missing {
        println!("missing: {} (`{}`, for {})", package.name, package.program, package.used_for);
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let by_hand = format!("install by hand: apt-get install {}", names.join(" "));
    if !is_on_path("apt-get") {
        return Err(format!(
            "programs are missing and there is no apt-get here; {by_hand} (or what your system calls them)"
        )
        .into());
    }
    if !rustix::process::geteuid().is_root() {
        return Err(format!("programs are missing and only root may install them; {by_hand}").into());
    }
    install(repository, &names).map_err(|error| format!("{error}; {by_hand}"))?;
    match self::missing().as_slice() {
        [] => Ok(Outcome::Passed),
        rest => {
            let programs: Vec<&str> = rest.iter().map(|package| package.program).collect();
            Err(format!("installed, yet still not on the PATH: {}", programs.join(" ")).into())
        }
    }
}

fn missing() -> Vec<&'static Package> {
    PACKAGES.iter().filter(|package| !is_on_path(package.program)).collect()
}

fn is_on_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn install(repository: &Repository, names: &[&str]) -> Result<()> {
    let apt = |arguments: &[&str]| -> Command {
        let mut command = repository.command("apt-get", arguments);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    if let Err(error) = child::run(&mut apt(&["update", "--quiet"]), 10 * MINUTE) {
        println!("warning: {error}; trying with the package lists that are here");
    }
    let arguments = [&["install", "--quiet", "--yes", "--no-install-recommends"], names].concat();
    child::run(&mut apt(&arguments), 20 * MINUTE)
}
