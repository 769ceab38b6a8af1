//! What tasks left: their outputs, and the files that they want kept.

use super::View;
use crate::{
    config::nicer,
    error::Error,
    output::{Paint, Tone, count, harmless, size, width},
    source::{Left, Source, run_id},
    table::{Cell, Column, Table},
};
use serde_json::{Value, json};
use std::{
    io::Write,
    time::{Duration, Instant},
};
use unknot_api::rest;
use unknot_engine::core::TaskIndex;

/// How long the search for files may take in all.
const LOOK_WITHIN: Duration = Duration::from_secs(2);
/// Outputs, and files, that are listed for people.
const LISTED_MAX: usize = 20;

impl View {
    /// Reads which files the newest attempt of each task left; of small runs only, each attempt is a folder to look
    /// into or a question to a server.
    pub(super) fn read_artifacts(&mut self, source: &Source) -> Result<(), Error> {
        let run = run_id(&self.run)?;
        if !self.is_small() {
            return Ok(());
        }
        let until = Instant::now() + LOOK_WITHIN;
        for (index, task) in self.tasks.iter().filter(|(_, task)| task.attempts > 0) {
            let attempt = run.task(*index).attempt(task.attempts);
            // What a disk or a server is slow about shall not keep a person from seeing the run.
            match source.artifacts(attempt, &task.name) {
                Ok(found) if Instant::now() < until => {
                    self.artifacts.insert(*index, found);
                }
                Ok(_) | Err(_) => {
                    self.is_looked_through = false;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Writes what a small run left, cut to lines; `--json` has all of it.
    pub(super) fn write_left(&self, paint: Paint, columns: usize, out: &mut dyn Write) -> Result<(), Error> {
        if !self.is_small() {
            return Ok(());
        }
        let mut is_cut = self.write_outputs(paint, columns, out)?;
        is_cut |= self.write_artifacts(paint, columns, out)?;
        if !self.is_looked_through {
            writeln!(out, "\n  {}", paint.tone(Tone::Warn, "not all artifacts are listed: it took too long to look"))?;
        }
        if is_cut {
            let whole = format!("  whole: `unknot show {} --json{}`", self.run.summary.run_id, self.option);
            writeln!(out, "{}", paint.tone(Tone::Faint, &whole))?;
        }
        Ok(())
    }

    /// Writes outputs, one a line; says whether something of them was left out.
    fn write_outputs(&self, paint: Paint, columns: usize, out: &mut dyn Write) -> Result<bool, Error> {
        let outputs: Vec<(&str, String)> = self.tasks.values().filter_map(output).collect();
        if outputs.is_empty() {
            return Ok(false);
        }
        let mut table = Table::new(&[("TASK", Column::Shrinks(8)), ("OUTPUT", Column::Shrinks(20))]);
        for (name, output) in outputs.iter().take(LISTED_MAX) {
            table.row(vec![(*name).into(), output.as_str().into()]);
        }
        writeln!(out)?;
        table.write(out, paint, 2, columns)?;
        self.write_left_out(outputs.len(), "output", paint, out)?;
        let names = outputs.iter().map(|(name, _)| width(name)).max().unwrap_or_default();
        let room = columns.saturating_sub(names + 4);
        Ok(outputs.len() > LISTED_MAX || outputs.iter().any(|(_, output)| width(output) > room))
    }

    /// Writes files, one a line; says whether something of them was left out.
    fn write_artifacts(&self, paint: Paint, columns: usize, out: &mut dyn Write) -> Result<bool, Error> {
        let files: Vec<(TaskIndex, &Left)> =
            self.artifacts.iter().flat_map(|(index, found)| found.iter().map(|left| (*index, left))).collect();
        if files.is_empty() {
            return Ok(false);
        }
        let is_here = files.iter().all(|(_, left)| left.file.is_some());
        let place = if is_here { "ARTIFACT" } else { "ARTIFACT, BELOW THE SERVER'S ADDRESS" };
        // To be copied, so it is never cut.
        let mut table = Table::new(&[("TASK", Column::Shrinks(8)), ("SIZE", Column::Right), (place, Column::Whole)]);
        for (index, left) in files.iter().take(LISTED_MAX) {
            let task = &self.tasks[index];
            let place = match &left.file {
                Some(file) => nicer(file).display().to_string(),
                None => format!("/tasks/{}/artifacts/{}", task.task_id, left.artifact.path),
            };
            table.row(vec![
                task.name.as_str().into(),
                size(left.artifact.bytes).into(),
                Cell::new(Tone::Plain, harmless(&place)),
            ]);
        }
        writeln!(out)?;
        table.write(out, paint, 2, columns)?;
        self.write_left_out(files.len(), "artifact", paint, out)?;
        Ok(files.len() > LISTED_MAX)
    }

    fn write_left_out(&self, all: usize, what: &str, paint: Paint, out: &mut dyn Write) -> Result<(), Error> {
        let more = all.saturating_sub(LISTED_MAX) as u64;
        if more > 0 {
            writeln!(out, "  {}", paint.tone(Tone::Faint, &format!("… and {} more", count(more, what))))?;
        }
        Ok(())
    }

    /// The files that a task left; null where nobody looked, since the run is large or it took too long.
    pub(super) fn artifacts_as_json(&self, index: TaskIndex) -> Value {
        if !self.is_small() {
            return Value::Null;
        }
        let told = |left: &Left| {
            let mut told = json!({"path": left.artifact.path, "bytes": left.artifact.bytes});
            if let Some(file) = &left.file {
                told["file"] = json!(file);
            }
            told
        };
        match self.artifacts.get(&index) {
            None if !self.is_looked_through => Value::Null,
            found => found.into_iter().flatten().map(told).collect(),
        }
    }
}

/// A task's output, where there is something in it.
fn output(task: &rest::Task) -> Option<(&str, String)> {
    let output = task.output.as_ref()?;
    let is_empty = output.is_null() || output.as_object().is_some_and(serde_json::Map::is_empty);
    (!is_empty).then(|| (task.name.as_str(), output.to_string()))
}
