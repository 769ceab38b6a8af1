//! A folder of its own for each test, and the command in it, never waited for without a bound.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longer than anything takes that works, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(40);

/// A folder with workflow files.
pub(crate) struct Bench {
    folder: TempDir,
}

/// How a command ended and what it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A command that goes on. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    /// A folder with this workflow as `flow.yaml`.
    pub(crate) fn with(flow: &str) -> Self {
        let bench = Self::new();
        bench.write("flow.yaml", flow);
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// What tasks wrote into a file; nothing, if there is none yet.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unknot"));
        command.args(arguments).current_dir(self.path("."));
        // As wide as a usual terminal, though it is none.
        command.env("USER", "tester").env("COLUMNS", "80").stdin(Stdio::null());
        for variable in ["UNKNOT_SERVER_DATA", "UNKNOT_SERVER", "UNKNOT_TOKEN", "UNKNOT_TOKEN_FILE", "UNKNOT_ATTEMPT"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments))
    }

    /// Runs a line of the shell to its end, as [`Bench::run`] does.
    pub(crate) fn shell(&self, line: &str) -> Ended {
        let like = self.command(&[]);
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.path(".")).stdin(Stdio::null());
        like.get_envs().for_each(|(name, value)| match value {
            Some(value) => drop(command.env(name, value)),
            None => drop(command.env_remove(name)),
        });
        ended(command)
    }

    /// Starts a command and listens to its standard output.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut child = self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = sync_channel(10_000);
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Running { child, lines, seen: Vec::new() }
    }
}

/// Runs any command to its end.
pub(crate) fn ended(mut command: Command) -> Ended {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let all = |mut pipe: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = all(Box::new(child.stdout.take().unwrap()));
    let stderr = all(Box::new(child.stderr.take().unwrap()));
    let status = wait(&mut child);
    Ended { code: status.code(), stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

impl Ended {
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let all = format!("{}{}", self.stdout, self.stderr);
        assert!(all.contains(text), "expected `{text}` in\n{all}");
        self
    }
}

impl Running {
    /// Waits for a line that contains `text`, and gives it.
    #[track_caller]
    pub(crate) fn line(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no line with `{text}` in time:\n{}", self.seen.join("\n")),
                Err(RecvTimeoutError::Disconnected) => panic!("no line with `{text}`:\n{}", self.seen.join("\n")),
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end: the exit status and all that it printed.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let status = wait(&mut self.child);
        self.seen.extend(self.lines.iter());
        (status.code(), std::mem::take(&mut self.seen).join("\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

fn wait(child: &mut Child) -> ExitStatus {
    let mut status = None;
    until("the command has ended", PATIENCE, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

/// Waits until something holds; looks every few milliseconds, for a bounded time.
#[track_caller]
pub(crate) fn until(what: &str, at_most: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + at_most;
    while !holds() {
        assert!(Instant::now() < deadline, "not in {at_most:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for a file that a task writes.
#[track_caller]
pub(crate) fn wait_for_file(path: &Path) {
    until(&format!("`{}` is there", path.display()), PATIENCE, || path.exists());
}

/// Waits until no process has this word in its command line. What the guard promises.
#[track_caller]
pub(crate) fn wait_until_gone(word: &str) {
    until(&format!("no process with `{word}` is left"), Duration::from_secs(5), || !exists_process_with(word));
}

/// Whether a process has this word in its command line.
pub(crate) fn exists_process_with(word: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.into_iter().any(|line| String::from_utf8_lossy(&line).contains(word))
}

/// Digits that no other test has: as the end of a `sleep`'s length they tell its process from all others.
pub(crate) fn marker() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{:07}{:03}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
