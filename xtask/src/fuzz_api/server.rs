//! The server that is fuzzed.

use crate::{Result, repository::Repository};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdout, Stdio},
    time::Duration,
};

/// How long one of our own questions may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A server in a folder of its own, which ends when this is dropped.
pub(super) struct Server {
    child: Child,
    address: String,
    /// Kept open: a server whose output goes nowhere would end.
    _output: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it on a free port, without a bound on how often it may be asked; what was there before is removed.
    pub(super) fn start(repository: &Repository, unknot: &Path, folder: &Path) -> Result<Self> {
        let data = folder.join("data");
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        fs::create_dir_all(folder)?;
        // With short sessions, whose calls wait for less than the fuzzer does.
        let config = "server: {data: data, rate: {per_second: 1000000, burst: 1000000}}\nworkers: {session: 4s}\n\
                      logging: {level: error}\n";
        fs::write(folder.join("unknot.yaml"), config)?;
        let arguments = ["serve", "--insecure-loopback", "--listen", "127.0.0.1:0", "--config", "unknot.yaml"];
        let mut command = repository.command(&unknot.display().to_string(), &arguments);
        let mut child = command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("the server has no standard output")?;
        let mut output = BufReader::new(stdout);
        let address = output.by_ref().lines().map_while(std::result::Result::ok).find_map(|line| {
            let place = line.strip_prefix("listen")?.split_whitespace().next()?;
            place.strip_prefix("http://").map(str::to_owned)
        });
        match address {
            Some(address) => Ok(Self { child, address, _output: output }),
            None => {
                child.kill()?;
                child.wait()?;
                Err("the server did not start".into())
            }
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Asks it something, as JSON.
    pub(super) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, told) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("{method} {path}: no answer"))?;
        Ok(serde_json::from_str(told)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which has been told.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}
