//! Other systems measured beside ours: what they need, and the scripts in `bench/peers` that run them.
//!
//! All that is installed or written stays below the target folder.

use crate::{Result, child, repository::Repository};
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Where the scripts and the versions of their packages stand.
const SCRIPTS: &str = "bench/peers";
/// Fetching and installing the packages of one language.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);
/// How long Redis may take until it answers.
const REDIS_LIMIT: Duration = Duration::from_secs(10);
/// How often Redis is asked whether it answers.
const POLL: Duration = Duration::from_millis(20);

/// A Debian package and the call that succeeds when it is there, however it was installed.
struct Need {
    package: &'static str,
    call: &'static [&'static str],
}

/// What a machine needs for the peers beside what `cargo xtask check` installs.
const NEEDS: &[Need] = &[
    Need { package: "redis-server", call: &["redis-server", "--version"] },
    Need { package: "nodejs", call: &["node", "--version"] },
    Need { package: "npm", call: &["npm", "--version"] },
    Need { package: "python3-venv", call: &["python3", "-c", "import ensurepip, venv"] },
];

/// The peers, installed.
pub(super) struct Peers<'a> {
    repository: &'a Repository,
    /// Holds the Node packages and a copy of the script: Node looks for packages beside the script.
    node: PathBuf,
    /// The Python of an environment of its own.
    python: PathBuf,
    /// What they write while they are measured; made and removed by each measurement.
    data: PathBuf,
}

impl<'a> Peers<'a> {
    /// Installs the versions that `bench/peers` names, below `target`; what is there already stays.
    ///
    /// # Errors
    /// If a program is missing (which Debian package has it is told), or a package cannot be installed.
    pub(super) fn prepare(repository: &'a Repository, target: &Path) -> Result<Self> {
        demand(repository, NEEDS)?;
        let folder = target.join("bench-peers");
        let peers = Self {
            repository,
            node: folder.join("node"),
            python: folder.join("python/bin/python"),
            data: folder.join("data"),
        };
        peers.install_node()?;
        peers.install_python(&folder.join("python"))?;
        Ok(peers)
    }

    fn install_node(&self) -> Result<()> {
        fs::create_dir_all(&self.node)?;
        for file in ["package.json", "bullmq.mjs"] {
            fs::copy(self.repository.root().join(SCRIPTS).join(file), self.node.join(file))?;
        }
        // No package of theirs has to run a program of its own to be installed.
        let call = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
        let mut npm = self.repository.command("npm", &call);
        child::capture(npm.current_dir(&self.node), INSTALL_LIMIT).map(drop)
    }

    fn install_python(&self, environment: &Path) -> Result<()> {
        let mut venv = self.repository.command("python3", &["-m", "venv"]);
        child::capture(venv.arg(environment), INSTALL_LIMIT)?;
        let call = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        let mut pip = self.repository.command(&self.python.display().to_string(), &call);
        child::capture(pip.arg(format!("{SCRIPTS}/requirements.txt")), INSTALL_LIMIT).map(drop)
    }

    /// What the scripts print, one figure a line: each peer in turn, alone.
    ///
    /// # Errors
    /// If one of them fails or does not end.
    pub(super) fn measure(&self) -> Result<String> {
        if self.data.exists() {
            fs::remove_dir_all(&self.data)?;
        }
        fs::create_dir_all(&self.data)?;
        let lines = self.bullmq()? + &self.huey()?;
        fs::remove_dir_all(&self.data)?;
        Ok(lines)
    }

    fn bullmq(&self) -> Result<String> {
        let redis = Redis::start(self.repository, &self.data)?;
        let call = ["bullmq.mjs", &redis.port.to_string(), super::TASKS];
        child::capture(mortal(self.repository, "node").args(call).current_dir(&self.node), super::LIMIT)
    }

    fn huey(&self) -> Result<String> {
        let mut python = mortal(self.repository, &self.python.display().to_string());
        python.arg(format!("{SCRIPTS}/huey_bench.py")).arg(&self.data).arg(super::TASKS);
        child::capture(&mut python, super::LIMIT)
    }
}

/// `program`, which the kernel kills when we end, however we do.
fn mortal(repository: &Repository, program: &str) -> Command {
    repository.command("setpriv", &["--pdeathsig", "KILL", program])
}

/// Fails, loudly, unless each of `needs` is there.
fn demand(repository: &Repository, needs: &[Need]) -> Result<()> {
    let is_missing = |need: &&Need| !child::succeeds(&mut repository.command(need.call[0], &need.call[1..]));
    let missing: Vec<&Need> = needs.iter().filter(is_missing).collect();
    for Need { package, call } in &missing {
        eprintln!("missing: {package} (`{}` does not succeed)", call.join(" "));
    }
    match missing.iter().map(|need| need.package).collect::<Vec<_>>().join(" ") {
        packages if packages.is_empty() => Ok(()),
        packages => {
            Err(format!("the peers cannot be measured; install what they need: apt-get install {packages}").into())
        }
    }
}

/// A Redis of our own that keeps nothing. It is killed when this is dropped, and when we are.
struct Redis {
    process: Child,
    port: u16,
}

impl Redis {
    /// Starts it in `folder` on a free port of the loopback, and waits until it answers.
    fn start(repository: &Repository, folder: &Path) -> Result<Self> {
        // Between this line and Redis another could take the port: then Redis ends, and we say so.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = mortal(repository, "redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
        command.args(["--logfile", "redis.log"]).arg("--dir").arg(folder);
        command.current_dir(folder).stdin(Stdio::null());
        let process = command.spawn().map_err(|error| format!("start {}: {error}", child::show(&command)))?;
        let mut redis = Self { process, port };
        redis.await_answer().map_err(|error| format!("{error}; {}", log_of(folder)))?;
        Ok(redis)
    }

    fn await_answer(&mut self) -> Result<()> {
        let started = Instant::now();
        while !answers(self.port) {
            if started.elapsed() >= REDIS_LIMIT {
                return Err(format!("redis-server did not answer within {} s", REDIS_LIMIT.as_secs()).into());
            }
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("redis-server ended at its start with {status}").into());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // One that has just ended by itself is what we want.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Whether a Redis answers on `port`.
fn answers(port: u16) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(REDIS_LIMIT))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).map(|()| &answer == b"+PONG\r\n")
    };
    ask().unwrap_or(false)
}

/// What Redis has said of itself.
fn log_of(folder: &Path) -> String {
    fs::read_to_string(folder.join("redis.log")).unwrap_or_else(|error| format!("it has left no log: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_by_its_debian_package() {
        let needs = [
            Need { package: "coreutils", call: &["true"] },
            Need { package: "not-there", call: &["no-such-program", "--version"] },
            Need { package: "nor-this", call: &["false"] },
        ];
        let error = demand(&Repository::here(), &needs).unwrap_err().to_string();
        assert!(error.ends_with("apt-get install not-there nor-this"), "{error}");
        assert!(demand(&Repository::here(), &needs[..1]).is_ok());
    }

    #[test]
    fn a_port_on_which_nobody_answers_is_told_from_redis() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let other = thread::spawn(move || listener.accept().unwrap().0.write_all(b"-NOAUTH\r\n").unwrap());
        assert!(!answers(port));
        other.join().unwrap();
        assert!(!answers(port));
    }
}
