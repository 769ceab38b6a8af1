//! `unknot token new|ls|rm`: the tokens by which a server knows its callers, in its data folder.

use super::list;
use crate::{
    args::{Place, TokenCommand, TokenScope},
    config::{Config, nicer},
    error::Error,
    exit::Exit,
    table::{Column, Table},
};
use serde_json::{Value, json};
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
        TokenCommand::Ls { json, place } => return ls(&open(place)?, *json, out),
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

fn ls(tokens: &Tokens, is_json: bool, out: &mut dyn Write) -> Result<Exit, Error> {
    let found = tokens.list().map_err(Error::Tokens)?;
    let told: Vec<Value> = found.iter().map(|(name, scope)| json!({"name": name, "scope": scope})).collect();
    let table = || {
        let mut table = Table::new(&[("NAME", Column::Shrinks(8)), ("SCOPE", Column::Whole)]);
        for one in &told {
            let text = |key: &str| one[key].as_str().unwrap_or_default();
            table.row(vec![text("name").into(), text("scope").into()]);
        }
        table
    };
    list::print(is_json, &told, "tokens: `unknot token new NAME` makes one", table, out)
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
