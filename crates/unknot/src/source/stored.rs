//! What a store on this machine tells, as the API would tell it.

use super::{
    CHUNK, Tried,
    words::{read_word, run_id},
};
use crate::{attempt_folder, config::Config, error::Error, looking::Looking};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Seek, SeekFrom},
};
use unknot_api::rest;
use unknot_engine::{
    core::{
        AttemptId, TaskIndex,
        run::{TaskStatus, WaitOn},
        wait::open_needs,
        workflow::{Definition, TaskDef},
    },
    store::{PageSize, RunRecord},
};
use unknot_server::view;

/// A store, and the run of it that is looked at.
pub(crate) struct Stored {
    pub(super) config: Config,
    pub(super) looking: Looking,
    pub(super) record: Option<RunRecord>,
}

impl Stored {
    /// The configuration beside it.
    pub(crate) fn into_config(self) -> Config {
        self.config
    }

    /// Incidents that are open, or that somebody is still to be told of.
    pub(crate) fn alerts(&mut self) -> Result<Vec<rest::Alert>, Error> {
        let found = self.looking.ask(|reader, namespace| reader.alerts(namespace))?.value;
        Ok(found.iter().map(|(_, alert)| view::alert(alert)).collect())
    }

    fn record(&self) -> Result<&RunRecord, Error> {
        self.record.as_ref().ok_or_else(|| Error::NothingRan { data: self.config.data.clone() })
    }

    pub(super) fn tasks(&mut self, run: &rest::Run) -> Result<BTreeMap<TaskIndex, rest::Task>, Error> {
        let id = run_id(run)?;
        let Self { looking, record: Some(record), .. } = self else { return Ok(BTreeMap::new()) };
        let definition = looking.definition(record.run())?;
        let show = |index: TaskIndex, task: &_| view::task(id, index, &definition.task(index).name, task);
        let untouched = record.run().untouched_task();
        // A large live run stores no row for a task that nothing has happened to yet.
        let mut found: BTreeMap<TaskIndex, rest::Task> =
            definition.body.indexed().map(|(index, _)| (index, show(index, &untouched))).collect();
        let mut met = BTreeMap::new();
        looking.each_task(record, &definition, |index, task| {
            found.insert(index, show(index, task));
            met.insert(index, task.met);
        })?;
        if record.run().started {
            name_needs(&mut found, &definition, &met);
        }
        Ok(found)
    }

    pub(super) fn tasks_in(
        &mut self,
        run: &rest::Run,
        status: TaskStatus,
        most: usize,
    ) -> Result<BTreeMap<TaskIndex, rest::Task>, Error> {
        let (id, size) = (run_id(run)?, PageSize::new(most));
        let hash = self.record()?.run().definition.clone();
        let found = self.looking.ask(|reader, namespace| reader.tasks_in(namespace, id, status, size))?.value;
        let wanted = found.iter().map(|(index, _)| *index).collect();
        let defs = self.looking.ask(|reader, namespace| reader.task_definitions(namespace, &hash, &wanted))?.value;
        // What has no definition has no name: damage, which `store check` tells.
        let shown = found.iter().filter_map(|(index, task)| {
            let def = defs.get(index)?;
            Some((*index, view::task(id, *index, &def.name, task)))
        });
        Ok(shown.collect())
    }

    pub(super) fn tried(&mut self, only: Option<TaskIndex>) -> Result<Vec<Tried>, Error> {
        let Self { looking, record: Some(record), .. } = self else { return Ok(Vec::new()) };
        let definition = looking.definition(record.run())?;
        let all = only.is_none();
        let fresh = |(index, def): (TaskIndex, &TaskDef)| Tried {
            index,
            name: def.name.to_string(),
            attempts: 0,
            is_running: false,
            has_ended: false,
        };
        let wanted = definition.body.indexed().filter(|(index, _)| all || only == Some(*index));
        let mut found: BTreeMap<TaskIndex, Tried> = wanted.map(|entry| (entry.0, fresh(entry))).collect();
        looking.each_task(record, &definition, |index, task| {
            if let Some(tried) = found.get_mut(&index) {
                tried.attempts = task.attempts;
                tried.is_running = task.lease().is_some();
                tried.has_ended = task.end().is_some();
            }
        })?;
        Ok(found.into_values().collect())
    }
}

/// Adds to waits for other tasks which these are. `met` says of each stored task how many of its needs are met.
fn name_needs(tasks: &mut BTreeMap<TaskIndex, rest::Task>, definition: &Definition, met: &BTreeMap<TaskIndex, u32>) {
    let waits = |task: &rest::Task| task.wait.as_ref().and_then(|wait| read_word(&wait.on)) == Some(WaitOn::Needs);
    let waiting: Vec<TaskIndex> = tasks.iter().filter(|(_, task)| waits(task)).map(|(index, _)| *index).collect();
    let ended: BTreeSet<TaskIndex> =
        tasks.iter().filter(|(_, task)| task.ended_at.is_some()).map(|(index, _)| *index).collect();
    for index in waiting {
        let met = met.get(&index).copied().unwrap_or_default();
        let open = open_needs(definition, index, met, |other| ended.contains(&other));
        if let Some(wait) = tasks.get_mut(&index).and_then(|task| task.wait.as_mut()) {
            wait.needs = Some(view::needs(&open));
        }
    }
}

/// Reads a log on this machine.
pub(super) fn read_file(
    config: &Config,
    attempt: AttemptId,
    name: &str,
    from: u64,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<bool, Error> {
    let path = attempt_folder::log(&config.data, attempt, name);
    let unreadable = |source| Error::Log { attempt: "read the log", path: path.clone(), source };
    let mut file = match attempt_folder::open(&path) {
        Ok(file) => file,
        // It has not begun yet, or its task needs no process.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(unreadable(source)),
    };
    file.seek(SeekFrom::Start(from)).map_err(unreadable)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk).map_err(unreadable)? {
            0 => return Ok(true),
            length => take(&chunk[..length])?,
        }
    }
}
