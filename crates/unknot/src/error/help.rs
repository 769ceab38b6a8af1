//! What to do next, where that can be said in a line or two: for somebody who is tired.

use super::{Error, SERVER};
use crate::output::fit;
use std::{error::Error as StdError, fs, io};
use unknot_api::client::ClientError;
use unknot_engine::store::StoreError;

/// Columns of another process's command line.
const COMMAND_COLUMNS: usize = 60;

impl Error {
    /// What to do next, where that can be said in a line.
    pub(super) fn help(&self) -> Option<String> {
        Some(match self {
            Self::WorkflowUnreadable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "give the path of a YAML or JSON file, such as `unknot run flow.yaml`".to_owned()
            }
            Self::Variable { help: Some(help), .. } => help.clone(),
            Self::Unset { .. } => "set it where the server is started".to_owned(),
            Self::Variable { expected: Some(expected), .. } => format!("expected {expected}"),
            Self::Input { .. } => {
                "write `-i name=value`, or `-i @inputs.json` for a file with a JSON object".to_owned()
            }
            Self::NoSuchRun { .. } => "`unknot ls` lists the runs".to_owned(),
            Self::NothingRan { .. } => {
                "go to the workflow's folder, or name its data folder with `--data DIR`, or a server with \
                 `--server http://HOST:PORT`"
                    .to_owned()
            }
            Self::ManyRuns { .. } => "give more of the id".to_owned(),
            Self::NoSuchTask { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Self::NoSuchTask { run, .. } => format!("`unknot show {run}` lists its tasks"),
            Self::NoLog { .. } => {
                "a log begins with a task's first attempt; `unknot show` says whether there was one".to_owned()
            }
            Self::KeyReused { run, .. } => format!("take another key; `unknot show {run}` shows that run"),
            Self::Frozen { run, .. } => {
                format!("look at it with `unknot show {run}`; `unknot cancel {run} --force` ends it as it stands")
            }
            Self::NotOurs { data, owner, .. } => format!(
                "ask as that user (`sudo -u '#{owner}' unknot …`), ask its server with a token (`--server http://HOST:PORT`), \
                 or use a folder of your own instead of `{}` with `--data DIR`",
                data.display()
            ),
            Self::OwnerSilent { .. } => "end that process (Ctrl-C in its terminal), then ask again".to_owned(),
            Self::Start { attempt, source } => start_help(attempt, &**source)?,
            Self::Unsound { .. } => "keep the folder as it is and restore a backup into another one".to_owned(),
            Self::Store { source, .. } => store_help(source)?,
            Self::Client { source, .. } => client_help(source)?,
            Self::NoServer { .. } => {
                "start one with `unknot serve`, or name one with `--server http://HOST:PORT`".to_owned()
            }
            Self::Unsendable { .. } => {
                "write its numbers without signs, leading zeros or hexadecimal, or in quotes".to_owned()
            }
            Self::NotInAttempt { instead, .. } => (*instead).to_owned(),
            Self::CalledTwice { .. } => "keep one of them in that folder, or give one another `name:`".to_owned(),
            Self::GraphUnreadable { .. } | Self::NoGraph { .. } => {
                "`unknot help analyze` has an example; docs/wait-graph.md says what a file may hold".to_owned()
            }
            Self::EngineStopped { .. } => {
                "what was recorded is in the data folder; run the same command again".to_owned()
            }
            _ => return None,
        })
    }
}

/// What to do where the system refuses what a command works with.
fn start_help(attempt: &str, source: &(dyn StdError + 'static)) -> Option<String> {
    let mut cause = source;
    let kind = loop {
        match cause.downcast_ref::<io::Error>() {
            Some(error) => break error.kind(),
            None => cause = cause.source()?,
        }
    };
    Some(match kind {
        io::ErrorKind::AddrInUse => {
            "somebody listens there already (`ss -ltnp` says who): take another address, `--listen 127.0.0.1:0` finds a free \
             one, or `server.listen` in `unknot.yaml`"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address (`ip addr` lists those that it has); give another one with `--listen`".to_owned()
        }
        io::ErrorKind::PermissionDenied if attempt == SERVER => {
            "ports below 1024 are for privileged users; give another one with `--listen`".to_owned()
        }
        io::ErrorKind::WouldBlock => {
            "no more threads or processes are allowed: see `ulimit -u`, a container's `pids.max`, and what runs (`ps -eLf`)".to_owned()
        }
        io::ErrorKind::OutOfMemory => "memory is used up: end something, or give this process more".to_owned(),
        _ => return None,
    })
}

fn client_help(error: &ClientError) -> Option<String> {
    Some(match error {
        ClientError::Refused { problem, .. } if problem.status == 401 => {
            "give a token: `--token-file FILE` or UNKNOT_TOKEN; `unknot token new NAME`, beside the server, makes one"
                .to_owned()
        }
        ClientError::Connect { .. } => {
            "is the server there, and is this its address? `unknot serve` starts one".to_owned()
        }
        ClientError::Late { .. } | ClientError::Broken { .. } => {
            "look at the server's `/health`; what was asked for may have happened all the same".to_owned()
        }
        _ => return None,
    })
}

fn store_help(error: &StoreError) -> Option<String> {
    Some(match error {
        StoreError::Owned { pid: Some(pid), .. } => {
            let what = process(*pid)
                .unwrap_or_else(|| "it is not seen from here (a container's, or another user's)".to_owned());
            format!(
                "process {pid}: {what}; wait for its end, or stop it (`kill {pid}`: nothing is lost), \
                 or work in another folder with `--data DIR`"
            )
        }
        StoreError::Owned { pid: None, .. } => {
            "`fuser -v DIR/lock` says which process it is; wait for its end, or use another folder with `--data DIR`"
                .to_owned()
        }
        StoreError::Newer { .. } => "use the newer program, or another folder with `--data DIR`".to_owned(),
        StoreError::NotAStore { .. } => "use another folder with `--data DIR`".to_owned(),
        StoreError::Missing { .. } => "`unknot run` makes one; `--data DIR` names another folder".to_owned(),
        StoreError::Corrupt { .. } => "keep the folder as it is and restore a backup into another one".to_owned(),
        StoreError::NetworkFileSystem { .. } => "use a folder on a local disk with `--data DIR`".to_owned(),
        StoreError::Open { .. } | StoreError::Unavailable { .. } => {
            "look at the folder's owner, rights and disk, or use another one with `--data DIR`".to_owned()
        }
        _ => return None,
    })
}

/// What a process does, if that can be seen, and whether it stands still.
fn process(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|line| !line.is_empty())?;
    let words = String::from_utf8_lossy(&line);
    let mut words = words.trim_end_matches('\0').split('\0');
    let program = words.next().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
    let line = fit(&[program].into_iter().chain(words).collect::<Vec<_>>().join(" "), COMMAND_COLUMNS);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state stands behind the name, which may have anything in it but ends with the last bracket.
    let is_stopped = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't']));
    let stopped = if is_stopped {
        format!(", which is stopped (Ctrl-Z; `kill -CONT {pid}` lets it go on)")
    } else {
        String::new()
    };
    Some(format!("`{line}`{stopped}"))
}
