//! `unknot token new|ls|rm`: the tokens by which a server knows its callers, in its data folder.

use crate::{
    args::{Place, TokenCommand, TokenScope},
    config::{Config, nicer},
    error::Error,
    exit::Exit,
    output::Paint,
    table::{Column, Table},
    terminal,
};
use serde_json::json;
use std::{fs, io::Write};
use unknot_server::{Scope, TokenError, Tokens};

/// Does what was asked for.
pub(crate) fn perform(command: &TokenCommand, out: &mut dyn Write) -> Result<Exit, Error> {
    match command {
        TokenCommand::New { name, scope, json, place } => {
            let token = open(place)?.add(name, (*scope).into()).map_err(Error::Tokens)?;
            match json {
                true => writeln!(out, "{}", json!({"name": name, "scope": Scope::from(*scope), "token": token}))?,
                // Alone, so that `$(…)` takes it.
                false => writeln!(out, "{token}")?,
            }
        }
        TokenCommand::Ls { json, place } => ls(&open(place)?, *json, out)?,
        TokenCommand::Rm { name, place } => {
            if !open(place)?.remove(name).map_err(Error::Tokens)? {
                return Err(Error::Tokens(TokenError::Refused(format!("there is no token `{name}`"))));
            }
            writeln!(out, "the token `{name}` lets nobody in any more")?;
        }
    }
    Ok(Exit::Success)
}

fn open(place: &Place) -> Result<Tokens, Error> {
    let config = Config::here(place)?;
    let unusable = |source| Error::Start { attempt: "make the data folder", source: Box::from(source) };
    fs::create_dir_all(&config.data).map_err(|source: std::io::Error| unusable(source))?;
    let (tokens, is_new) = Tokens::open(&config.data).map_err(Error::Tokens)?;
    if is_new {
        let first = unknot_server::Server::admin_token_file(&config.data);
        crate::error::eprint_quietly(&format!("note: the first token, `admin`, is in {}\n", nicer(&first).display()));
    }
    Ok(tokens)
}

fn ls(tokens: &Tokens, is_json: bool, out: &mut dyn Write) -> Result<(), Error> {
    let mut table = Table::new(&[("NAME", Column::Shrinks(8)), ("SCOPE", Column::Whole)]);
    for (name, scope) in tokens.list().map_err(Error::Tokens)? {
        if is_json {
            writeln!(out, "{}", json!({"name": name, "scope": scope}))?;
        }
        let scope = json!(scope);
        table.row(vec![name.into(), scope.as_str().unwrap_or_default().into()]);
    }
    if !is_json {
        table.write(out, Paint::for_stdout(), 0, terminal::size().columns)?;
    }
    Ok(())
}

impl From<TokenScope> for Scope {
    fn from(scope: TokenScope) -> Self {
        match scope {
            TokenScope::Read => Self::Read,
            TokenScope::Submit => Self::Submit,
            TokenScope::Operate => Self::Operate,
            TokenScope::Admin => Self::Admin,
        }
    }
}
