//! What a task's command says to a simulated hand: which script its attempts follow.

use super::plant;
use crate::hands::script::{Script, Style, draw};
use serde_json::{Value, json};
use unknot_core::{
    effect::{Assignment, Work},
    workflow::{Call, Command, TaskKind},
};

/// A task whose attempts follow scripts drawn from a seed; `level` workflows are below it.
pub fn asks(style: Style, level: u32, seed: u64) -> TaskKind {
    let style = if style == Style::Wild { "wild" } else { "careful" };
    exec(vec!["ask".to_owned(), style.to_owned(), level.to_string(), seed.to_string()])
}

/// A task that plays a role in a planted deadlock.
pub fn plays(plant: usize, kind: plant::Kind, role: &str) -> TaskKind {
    exec(words(plant, kind, role))
}

/// The same for a worker that has the handler.
pub fn plays_by_handler(plant: usize, kind: plant::Kind, role: &str, handler: &str) -> TaskKind {
    TaskKind::Worker(Call { handler: handler.into(), input: json!(words(plant, kind, role)) })
}

fn words(plant: usize, kind: plant::Kind, role: &str) -> Vec<String> {
    vec!["plant".to_owned(), plant.to_string(), kind.word().to_owned(), role.to_owned()]
}

fn exec(words: Vec<String>) -> TaskKind {
    TaskKind::Exec(Command::Argv(words))
}

/// The script that an assignment names, if it names one.
pub fn script(assignment: &Assignment) -> Option<Script> {
    let words: Vec<String> = match &assignment.work {
        Work::Exec { command: Command::Argv(words), .. } => words.clone(),
        Work::Handler(Call { input: Value::Array(words), .. }) => {
            words.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => return None,
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["ask", style, level, seed] => {
            let style = if style == "wild" { Style::Wild } else { Style::Careful };
            Some(draw(style, level.parse().ok()?, seed.parse().ok()?, assignment.attempt.number))
        }
        ["plant", number, kind, role] => plant::script(number.parse().ok()?, plant::Kind::of(kind)?, role),
        _ => None,
    }
}
