//! What was typed, what variables say and what stands in `unknot.yaml`, as one validated whole.
//!
//! Open first `config/keys.rs`: the table of all keys, from which everything else here is made.

mod alerts;
mod environment;
mod file;
mod keys;
mod kind;
mod mask;
mod paths;
#[cfg(test)]
mod tests;
mod typed;
mod values;

pub(crate) use keys::When;
pub(crate) use kind::{Kind, Value};
pub(crate) use paths::{absolute, nicer};
pub(crate) use values::{Change, Place as Spot, Setting, Values};

use crate::{args::Place, error::Error, logging::Logging, workflow::read_bounded};
use file::Read;
use paths::quoted;
use std::{
    collections::BTreeMap,
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use unknot_api::{report::Diagnostic, source::Source};
use unknot_engine::{
    alerts::Alerts,
    core::{settings::Settings, validate::Rules},
    store::Retention,
};
use unknot_server::{Changeable, Deadlock, Rate, UnsafeWorkflows};
use values::Origin;

/// The configuration's file name.
const FILE: &str = "unknot.yaml";
/// Its name in the seed's deployments; many other programs have a file of that name.
const SEED_FILE: &str = "config.yaml";
/// Names a configuration where nobody types one.
const CONFIG_VARIABLE: &str = "UNKNOT_CONFIG";
/// The data folder where nobody names one.
const DATA: &str = ".unknot";

/// Everything a command needs to know of its surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The data folder, absolute.
    pub(crate) data: PathBuf,
    /// Attempts at once.
    pub(crate) slots: u32,
    /// Queues, pools and bounds.
    pub(crate) settings: Settings,
    /// How long finished runs are kept.
    pub(crate) retention: Retention,
    /// Who is told of incidents.
    pub(crate) alerts: Alerts,
    /// Variables that parts of it should be in and that are not set, in sentences.
    unset: Vec<String>,
    /// Where the API listens.
    pub(crate) listen: SocketAddr,
    /// Names of the server.
    pub(crate) hosts: Vec<String>,
    /// How much one client may ask of it.
    pub(crate) rate: Rate,
    /// How long what runs may go on when it ends.
    pub(crate) drain: Duration,
    /// How long a worker of another process may be silent before it counts as gone; a second at least.
    pub(crate) session_term: Duration,
    /// What it says, and where.
    pub(crate) logging: Logging,
    /// Most tasks in one chain of needs.
    max_dependency_depth: u32,
    /// Whether pools that a workflow asks for are for somebody else to judge.
    pub(crate) any_pools: bool,
    /// All values, with where they came from.
    pub(crate) values: Values,
    /// The file, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// The file that was typed.
    typed_file: Option<PathBuf>,
    /// What does nothing, in sentences.
    idle: Vec<String>,
    /// What else a person should know.
    notices: Vec<String>,
}

/// What was typed.
#[derive(Clone, Copy, Debug, Default)]
struct Typed<'t> {
    data: Option<&'t Path>,
    config: Option<&'t Path>,
    listen: Option<SocketAddr>,
}

/// Whether a `config.yaml` is surely meant for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SeedFile {
    /// One that is not sound is an error.
    Ours,
    /// One that is not sound is somebody else's.
    MaybeOurs,
}

impl Config {
    /// The configuration for a workflow file: looked for from its folder upwards.
    ///
    /// # Errors
    /// If there is one and it cannot be read, or is not sound.
    pub(crate) fn beside(flow: &Path, place: &Place) -> Result<Self, Error> {
        let flow = absolute(flow);
        Self::load(flow.parent().unwrap_or(Path::new("/")), as_typed(place, None), SeedFile::MaybeOurs)
    }

    /// The configuration for commands that name no workflow: looked for from the current folder upwards.
    ///
    /// # Errors
    /// As for [`Config::beside`].
    pub(crate) fn here(place: &Place) -> Result<Self, Error> {
        Self::load(&absolute(Path::new(".")), as_typed(place, None), SeedFile::MaybeOurs)
    }

    /// The same for commands that ask the server which owns the data folder: it goes on whatever somebody writes into
    /// the file, and is asked and told all the same. Where the file is not sound, the mistake comes with what can be
    /// known: the data folder, beside the defaults of all else.
    ///
    /// # Errors
    /// If a variable is not sound, or something else than the configuration stands in the way.
    pub(crate) fn to_ask(place: &Place) -> Result<(Self, Option<Error>), Error> {
        let mistake = match Self::here(place) {
            Ok(config) => return Ok((config, None)),
            Err(mistake @ (Error::File(_) | Error::ConfigUnreadable { .. })) => mistake,
            Err(other) => return Err(other),
        };
        let (folder, typed) = (absolute(Path::new(".")), as_typed(place, None));
        let file = Self::file(&folder, typed);
        let source = file.as_deref().and_then(|file| source(file).ok());
        let read = source.as_ref().and_then(|source| Read::new(source).ok());
        let mut values = read.map(|read| read.values).unwrap_or_default();
        environment::overlay(variables()?, &mut values)?;
        let beside = file.as_deref().and_then(Path::parent).unwrap_or(&folder);
        let data = typed.data.map(absolute).or_else(|| path(&values, "server.data", beside));
        // The rest of what was read is not whole.
        let mut values = Values::default();
        values.fill();
        let mut config = Self::from_values(values, data.unwrap_or_else(|| folder.join(DATA)), Logging::default());
        config.typed_file = typed.config.map(absolute);
        Ok((config, Some(mistake)))
    }

    /// The configuration of a server.
    ///
    /// # Errors
    /// As for [`Config::beside`].
    pub(crate) fn of_server(place: &Place, listen: Option<SocketAddr>) -> Result<Self, Error> {
        Self::load(&absolute(Path::new(".")), as_typed(place, listen), SeedFile::Ours)
    }

    /// The file that is typed, named by a variable, or stands in a folder or above it.
    fn file(folder: &Path, typed: Typed<'_>) -> Option<PathBuf> {
        let by_variable = || env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let named = typed.config.map(Path::to_path_buf).or_else(by_variable).map(|path| absolute(&path));
        named.or_else(|| folder.ancestors().map(|folder| folder.join(FILE)).find(|path| path.is_file()))
    }

    fn load(folder: &Path, typed: Typed<'_>, seed_file: SeedFile) -> Result<Self, Error> {
        if let Some(path) = Self::file(folder, typed) {
            return Self::read(Some(path), folder, typed);
        }
        let seeds = folder.join(SEED_FILE);
        if !seeds.is_file() {
            return Self::read(None, folder, typed);
        }
        match (Self::read(Some(seeds), folder, typed), seed_file) {
            (Err(Error::File(_) | Error::ConfigUnreadable { .. }), SeedFile::MaybeOurs) => {
                let mut config = Self::read(None, folder, typed)?;
                config.notices.push(format!(
                    "the `{SEED_FILE}` here is passed over: it is none of ours (`unknot config check` says why)"
                ));
                Ok(config)
            }
            (read, _) => read,
        }
    }

    fn read(file: Option<PathBuf>, folder: &Path, typed: Typed<'_>) -> Result<Self, Error> {
        let source = file.as_deref().map(source).transpose()?;
        let Assembled { mut values, notices, alerts, unset } =
            assemble(source.as_ref(), variables()?, typed, &|name| env::var(name).ok())?;
        let beside = file.as_deref().and_then(Path::parent).unwrap_or(folder);
        let data = match path(&values, "server.data", beside) {
            Some(data) => data,
            None => folder.join(DATA),
        };
        values.show_path("server.data", &data);
        let log_file = path(&values, "logging.file", beside);
        if let Some(file) = &log_file {
            values.show_path("logging.file", file);
        }
        let mut config = Self::from_values(values, data, Logging::default());
        config.logging = Logging::from_values(&config.values, log_file);
        (config.notices, config.alerts, config.unset) = (notices, alerts, unset);
        config.file = file;
        config.typed_file = typed.config.map(absolute);
        Ok(config)
    }

    fn from_values(values: Values, data: PathBuf, logging: Logging) -> Self {
        let hosts = match values.get("server.hosts", None) {
            Value::Texts(hosts) => hosts.clone(),
            _ => Vec::new(),
        };
        let listen = match values.get("server.listen", None) {
            Value::Address(address) => *address,
            _ => SocketAddr::from(([127, 0, 0, 1], 8001)),
        };
        let idle = values.idle().into_iter();
        let idle = idle.map(|section| format!("`{section}` is understood, and does nothing yet in this version"));
        let idle = idle.collect();
        Self {
            data,
            slots: values.count("worker.slots", None),
            settings: Settings {
                queues: typed::queues(&values),
                pools: typed::pools(&values),
                bounds: typed::bounds(&values),
                monitor: typed::monitor(&values),
                ..Settings::default()
            },
            retention: Retention {
                keep: values.length("retention.keep", None),
                verdicts_keep: values.length("retention.verdicts", None),
                bytes_max: values.number("retention.size", None),
                ..Retention::default()
            },
            alerts: Alerts::default(),
            unset: Vec::new(),
            listen,
            hosts,
            rate: Rate {
                per_second: values.count("server.rate.per_second", None),
                burst: values.count("server.rate.burst", None),
            },
            drain: Duration::from_millis(values.length("server.drain", None).0),
            session_term: Duration::from_millis(values.length("workers.session", None).0).max(Duration::from_secs(1)),
            logging,
            max_dependency_depth: values.count("deadlock.max_dependency_depth", None),
            any_pools: false,
            values,
            file: None,
            typed_file: None,
            idle,
            notices: Vec::new(),
        }
    }

    /// What a workflow is checked against.
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            max_dependency_depth: self.max_dependency_depth,
            pools: self.settings.pools.iter().map(|(name, pool)| (name.clone(), pool.size)).collect(),
            ..Rules::default()
        }
    }

    /// The same for workflows that go to a server: it knows which pools there are.
    pub(crate) fn with_any_pools(self) -> Self {
        Self { any_pools: true, ..self }
    }

    /// What a person should know of whom a command serves, in sentences.
    pub(crate) fn notices(&self) -> &[String] {
        &self.notices
    }

    /// What whoever starts a server should know: also what does nothing.
    pub(crate) fn all_notices(&self) -> Vec<String> {
        self.idle.iter().chain(&self.notices).chain(&self.unset).cloned().collect()
    }

    /// Insists on all that a server needs to tell others of incidents: nobody would notice that it cannot.
    ///
    /// # Errors
    /// If a variable that should hold a part of a target is not set.
    pub(crate) fn insist_on_targets(&self) -> Result<(), Error> {
        match self.unset.first() {
            None => Ok(()),
            Some(unset) => Err(Error::Unset { problem: unset.clone() }),
        }
    }

    /// What a server obeys while it runs.
    pub(crate) fn changeable(&self) -> Changeable {
        let deadlock = Deadlock {
            check_interval_s: self.values.number("deadlock.check_interval_s", None),
            pending_stale_s: self.values.number("deadlock.pending_stale_s", None),
            cancel: self.settings.monitor.cancel_on_deadlock,
            has_webhook: !self.alerts.targets.is_empty(),
        };
        let unsafe_workflows = match self.values.get("workflows.unsafe", None) {
            Value::Text(word) if word == "allow" => UnsafeWorkflows::Allow,
            Value::Text(word) if word == "refuse" => UnsafeWorkflows::Refuse,
            _ => UnsafeWorkflows::Warn,
        };
        Changeable { hosts: self.hosts.clone(), rules: self.rules(), rate: self.rate, deadlock, unsafe_workflows }
    }

    /// Takes over what can change while a server runs, from a configuration that was read later.
    pub(crate) fn take_over(&mut self, later: Self) {
        let values = self.values.with_reloaded(&later.values);
        let Self { data, slots, listen, .. } = self.clone();
        *self = Self { data, slots, listen, values, ..later };
    }

    /// How the other commands are told of the data folder: nothing, where they find it by themselves.
    pub(crate) fn data_option(&self) -> String {
        self.options_beside(Self::here(&self.same_file()))
    }

    /// The command that goes on with a run of a workflow file.
    pub(crate) fn run_again(&self, flow: &Path) -> String {
        let options = self.options_beside(Self::beside(flow, &self.same_file()));
        format!("unknot run {}{options}", quoted(&nicer(flow).display().to_string()))
    }

    fn same_file(&self) -> Place {
        Place { config: self.typed_file.clone(), ..Place::default() }
    }

    fn options_beside(&self, found: Result<Self, Error>) -> String {
        let option = |name: &str, path: &Path| format!(" --{name} {}", quoted(&nicer(path).display().to_string()));
        let config = self.typed_file.as_deref().map(|file| option("config", file)).unwrap_or_default();
        match found {
            Ok(found) if found.data == self.data => config,
            _ => config + &option("data", &self.data),
        }
    }
}

fn as_typed(place: &Place, listen: Option<SocketAddr>) -> Typed<'_> {
    Typed { data: place.data.as_deref(), config: place.config.as_deref(), listen }
}

fn source(path: &Path) -> Result<Source, Error> {
    let unreadable = |source| Error::ConfigUnreadable { path: path.to_path_buf(), source };
    let bytes = read_bounded(path).map_err(unreadable)?;
    let mut source = Source::new(nicer(path).display().to_string(), &bytes);
    if let Err(report) = &mut source {
        // What is no text cannot be searched for secrets.
        report.problems.iter_mut().for_each(|problem| problem.excerpt = None);
    }
    let source = source.map_err(Error::File)?;
    let shown = mask::masked(source.text());
    Ok(source.showing(shown))
}

/// The variables that may be meant for us.
fn variables() -> Result<BTreeMap<String, String>, Error> {
    let is_ours = |name: &str| name.starts_with(keys::PREFIX) || name.starts_with("DEEPLINE_") || name == "REDIS_URL";
    let mut variables = BTreeMap::new();
    for (name, text) in env::vars_os() {
        let Some(name) = name.to_str().filter(|name| is_ours(name)) else { continue };
        let Some(text) = text.to_str() else {
            let problem = "its text is not UTF-8".to_owned();
            return Err(Error::Variable { name: name.to_owned(), problem, expected: None, help: None });
        };
        variables.insert(name.to_owned(), text.to_owned());
    }
    Ok(variables)
}

/// What all who may speak say together.
struct Assembled {
    values: Values,
    notices: Vec<String>,
    alerts: Alerts,
    /// See [`Config`].
    unset: Vec<String>,
}

/// All values, by the order of those who may speak: what was typed, variables, the file, what holds without them.
fn assemble(
    source: Option<&Source>,
    variables: BTreeMap<String, String>,
    typed: Typed<'_>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Assembled, Error> {
    let mut read = source.map(Read::new).transpose().map_err(Error::File)?;
    let mut values = read.as_mut().map(|read| read.values.clone()).unwrap_or_default();
    let notices = environment::overlay(variables, &mut values)?;
    let mut type_in = |path: &str, value: Value| {
        if let Some((index, _)) = keys::at(path) {
            values.set(values::Place::new(index, None), Setting { value, origin: Origin::CommandLine });
        }
    };
    if let Some(listen) = typed.listen {
        type_in("server.listen", Value::Address(listen));
    }
    if let Some(data) = typed.data {
        type_in("server.data", Value::Text(data.display().to_string()));
    }
    let missing = values.fill();
    // What is missing is told first: the rest cannot be judged without it.
    let read_alerts = || alerts::read(&values, variable);
    let alerts::Read { alerts, problems, unset } = if missing.is_empty() { read_alerts() } else { Default::default() };
    match (read, missing.first()) {
        (Some(read), _) => read.end(&missing, problems).map_err(Error::File)?,
        (None, None) => {
            if let Some(problem) = problems.into_iter().next() {
                let Diagnostic { path, message, help, .. } = problem;
                return Err(Error::Variable { name: path, problem: message, expected: None, help });
            }
        }
        (None, Some(place)) => {
            let problem = "it begins a section in which something is missing".to_owned();
            let help = Some(format!("set `{}` as well", place.key().variable()));
            return Err(Error::Variable { name: place.to_string(), problem, expected: None, help });
        }
    }
    Ok(Assembled { values, notices, alerts, unset })
}

/// A path, from the folder of the file if it stands there, else from the current one.
fn path(values: &Values, key: &str, beside: &Path) -> Option<PathBuf> {
    let setting = values.setting(key)?;
    let Value::Text(text) = &setting.value else { return None };
    Some(match setting.origin {
        Origin::File { .. } => absolute(&beside.join(text)),
        Origin::CommandLine | Origin::Variable(_) | Origin::Default => absolute(Path::new(text)),
    })
}
