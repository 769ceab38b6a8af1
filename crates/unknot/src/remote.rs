//! A server that answers: which one is meant, and how it is asked.
//!
//! One that is named with `--server` comes first; else the one that owns the data folder, by the socket there, for
//! which no token is needed. A socket at which nobody listens is what a server left behind that was killed.

use crate::{
    args::At,
    config::Config,
    error::{Error, warn_of_mistake},
};
use std::{fs, io, path::Path};
use tokio::runtime::{Builder, Runtime};
use unknot_api::client::{Address, Client, ClientError};
use unknot_server::Server;

/// Where no server is named by hand.
const UNNAMED: &str = "";

/// A server, asked one question after the other.
pub(crate) struct Remote {
    client: Client,
    runtime: Runtime,
    /// How other commands are told of it: nothing, where they find it by themselves.
    option: String,
}

impl Remote {
    /// The server that is named, if one is.
    ///
    /// # Errors
    /// If the name is no address, or the token cannot be used.
    pub(crate) fn named(at: &At) -> Result<Option<Self>, Error> {
        let Some(name) = at.server.as_deref().filter(|name| *name != UNNAMED) else { return Ok(None) };
        let address: Address = name.parse().map_err(Error::Address)?;
        let client = Client::new(address, token(at)?).map_err(Error::client("use the token"))?;
        let is_known = std::env::var("UNKNOT_SERVER").is_ok_and(|known| known == name);
        let option = if is_known { String::new() } else { format!(" --server {name}") };
        Self::new(client, option).map(Some)
    }

    /// The server that owns a data folder, if one does.
    ///
    /// # Errors
    /// If one is there and does not answer.
    pub(crate) fn owner(config: &Config) -> Result<Option<Self>, Error> {
        let client = Client::new(Address::Local(Server::socket(&config.data)), None);
        let remote = Self::new(client.map_err(Error::client("use the socket"))?, config.data_option())?;
        match remote.runtime.block_on(remote.client.health()) {
            Ok(_) => Ok(Some(remote)),
            Err(error) if error.is_nobody_there() => Ok(None),
            Err(ClientError::Connect { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                Err(Error::owner(&config.data)(source))
            }
            Err(source) => Err(Error::client("ask the server that owns the data folder")(source)),
        }
    }

    /// The server that is meant.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn find(at: &At) -> Result<Self, Error> {
        if let Some(named) = Self::named(at)? {
            return Ok(named);
        }
        let (config, mistake) = Config::to_ask(&at.place)?;
        match Self::owner(&config)? {
            Some(remote) => {
                mistake.iter().for_each(warn_of_mistake);
                Ok(remote)
            }
            None => Err(mistake.unwrap_or(Error::NoServer { data: config.data })),
        }
    }

    fn new(client: Client, option: String) -> Result<Self, Error> {
        Ok(Self { client, runtime: runtime()?, option })
    }

    /// What it is asked by.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Where it is.
    pub(crate) fn place(&self) -> String {
        self.client.address().to_string()
    }

    /// How other commands are told of it.
    pub(crate) fn option(&self) -> &str {
        &self.option
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// What stood in the way of `attempt`.
    pub(crate) fn ask<T>(
        &self,
        attempt: impl Into<String>,
        question: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, Error> {
        self.runtime.block_on(question).map_err(Error::client(attempt))
    }
}

/// A runtime of this thread alone.
///
/// # Errors
/// If the system refuses it.
pub(crate) fn runtime() -> Result<Runtime, Error> {
    let refused = |source: io::Error| Error::Start { attempt: "start the client", source: source.into() };
    Builder::new_current_thread().enable_all().build().map_err(refused)
}

/// The token that was given: on the command line, by a variable, or in a file.
fn token(at: &At) -> Result<Option<String>, Error> {
    let given = at.token.clone().filter(|token| !token.is_empty());
    match (given, &at.token_file) {
        (Some(token), _) => Ok(Some(token)),
        (None, Some(path)) => from_file(path).map(Some),
        (None, None) => Ok(None),
    }
}

fn from_file(path: &Path) -> Result<String, Error> {
    let unreadable = |source| Error::TokenFile { path: path.to_path_buf(), source };
    fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(unreadable)
}
