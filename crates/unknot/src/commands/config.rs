//! `unknot config`: what holds and who said so; whether a file is sound.

use crate::{
    args::{ConfigCommand, Place},
    config::{self, Config, Kind, nicer},
    error::{Error, eprint_quietly},
    exit::Exit,
    output::{Paint, Tone},
    table::{Cell, Column, Table},
    terminal,
};
use serde_json::{Value, json};
use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

/// Shows or checks the configuration.
pub(crate) fn perform(command: &ConfigCommand, out: &mut dyn Write) -> Result<Exit, Error> {
    match command {
        ConfigCommand::Show { json, place } => show(&Config::of_server(place, None)?, *json, out),
        ConfigCommand::Check { file } => check(file.clone(), out),
    }
}

fn show(config: &Config, is_json: bool, out: &mut dyn Write) -> Result<Exit, Error> {
    if is_json {
        writeln!(out, "{}", as_json(config))?;
        return Ok(Exit::Success);
    }
    writeln!(out, "{}", named(config))?;
    let mut table = Table::new(&[("KEY", Column::Whole), ("VALUE", Column::Shrinks(12)), ("FROM", Column::Shrinks(8))]);
    for (place, setting) in config.values.iter() {
        let tone = if setting.origin.is_default() { Tone::Faint } else { Tone::Plain };
        let value = match &setting.value {
            config::Value::Text(path) if place.key().kind == Kind::Path => nicer(Path::new(path)).display().to_string(),
            value => value.to_string(),
        };
        let cells = [place.to_string(), value, setting.origin.to_string()];
        table.row(cells.into_iter().map(|text| Cell::new(tone, text)).collect());
    }
    // Whoever reads it from a pipe wants it whole.
    let columns = if io::stdout().is_terminal() { terminal::size().columns } else { usize::MAX };
    table.write(out, Paint::for_stdout(), 0, columns)?;
    warn(&config.all_notices());
    Ok(Exit::Success)
}

fn as_json(loaded: &Config) -> Value {
    let value = |(place, setting): (&config::Spot, &config::Setting)| {
        json!({
            "key": place.to_string(),
            "value": setting.value.to_json(),
            "from": setting.origin.to_json(),
            "about": place.key().about,
            "changes": place.key().when.to_string(),
        })
    };
    let values: Vec<Value> = loaded.values.iter().map(value).collect();
    json!({"file": loaded.file, "values": values, "notices": loaded.all_notices()})
}

fn check(file: Option<PathBuf>, out: &mut dyn Write) -> Result<Exit, Error> {
    let config = Config::of_server(&Place { config: file, ..Place::default() }, None)?;
    let said = config.values.iter().filter(|(_, setting)| !setting.origin.is_default()).count();
    writeln!(out, "{}", named(&config))?;
    writeln!(out, "sound: {}", crate::output::count(said as u64, "value"))?;
    warn(&config.all_notices());
    Ok(Exit::Success)
}

fn named(config: &Config) -> String {
    match &config.file {
        Some(file) => format!("file    {}", nicer(file).display()),
        None => "file    none: there is no `unknot.yaml` here or above".to_owned(),
    }
}

/// What a person should know, to standard error.
pub(crate) fn warn(notices: &[String]) {
    for notice in notices {
        eprint_quietly(&format!("warning: {notice}\n"));
    }
}
