//! `unknot submit FLOW|NAME`: hands a workflow to a server, and waits for its end if that is wanted.

use crate::{
    args::Submit,
    calls::Beside,
    config::{self, Config},
    error::{Error, eprint_quietly},
    exit::Exit,
    follow::{Follow, Left, OnInterrupt},
    inputs,
    output::Paint,
    progress::{Progress, View},
    remote::Remote,
    signals,
    source::{Source, read_word},
    summary,
    teller::Teller,
    terminal, workflow,
};
use serde_json::{Map, Value, json};
use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};
use unknot_api::{
    client::Address,
    rest::{RunCreated, RunRequest, WorkflowChoice},
};
use unknot_engine::{
    Clock, convert,
    core::{RunId, Timestamp, run::RunStatus, validate::Rules, workflow::Definition},
};

/// Submits.
pub(crate) fn perform(submit: &Submit, out: &mut dyn Write) -> Result<Exit, Error> {
    // Before anything is submitted: a signal afterwards shall not leave somebody without its id.
    let interrupts = if submit.wait { Some(signals::listen()?) } else { None };
    let remote = Remote::find(&submit.at)?;
    let wish = wish(submit, &remote)?;
    let attempt = format!("submit `{}`", submit.flow);
    let created = remote.ask(attempt, remote.client().submit(&wish.request, submit.key.as_deref(), None))?;
    let unknown = || Error::NoSuchRun { given: created.run_id.clone(), place: remote.place() };
    let run: RunId = created.run_id.parse().map_err(|_| unknown())?;
    let mut teller = Teller { out, paint: Paint::for_stdout(), is_json: submit.json };
    match interrupts {
        None => tell(&created, &remote, &mut teller).map(|()| Exit::Success),
        Some(interrupts) => {
            let progress = wish.progress(run, &remote)?;
            wait(&created, progress, remote, &interrupts, &mut teller)
        }
    }
}

/// What is submitted.
struct Wish {
    request: RunRequest,
    /// What the file says, if it is one.
    definition: Option<Arc<Definition>>,
}

/// A file that is there is meant as one; anything else is a name.
fn wish(submit: &Submit, remote: &Remote) -> Result<Wish, Error> {
    let flow = Path::new(&submit.flow);
    let looks_like_a_file = submit.flow.contains(['/', '.']);
    let mut wish = if flow.is_file() || looks_like_a_file {
        from_file(submit, flow, remote)?
    } else {
        let mut request = RunRequest::of(WorkflowChoice::Name(submit.flow.clone()));
        request.input = inputs::read_unchecked(&submit.input)?;
        Wish { request, definition: None }
    };
    wish.request.labels.extend(submit.label.iter().cloned());
    wish.request.start_at = submit.start_at;
    Ok(wish)
}

fn from_file(submit: &Submit, flow: &Path, remote: &Remote) -> Result<Wish, Error> {
    let config = Config::beside(flow, &submit.at.place)?.with_any_pools();
    // What a server elsewhere has in pools is for it to judge.
    let is_here = matches!(remote.client().address(), Address::Local(_));
    let checked = workflow::read(flow, &config)?;
    if !checked.warnings.problems.is_empty() {
        eprint_quietly(&checked.warnings.to_string());
    }
    let mut request = RunRequest::of(WorkflowChoice::Inline(workflow::as_json(flow, &config, &checked)?));
    if let Value::Object(input) = inputs::read(&submit.input, &checked.definition)? {
        request.input = input;
    }
    request.calls = Beside::new(flow, &config, &checked).documents()?;
    request.source = is_here.then(|| config::absolute(flow).display().to_string());
    Ok(Wish { request, definition: Some(checked.definition) })
}

impl Wish {
    /// What is known of the run before anything is told of it.
    fn progress(self, run: RunId, remote: &Remote) -> Result<Progress, Error> {
        let now = Clock::starting_at_least(Timestamp::default()).now();
        let definition = match self.definition {
            Some(definition) => definition,
            None => stand_in(&self.request.workflow, run, remote)?,
        };
        Ok(Progress::new(run, definition, now))
    }
}

/// A workflow with the names of a run's tasks and nothing else: enough to show how far it is.
fn stand_in(workflow: &WorkflowChoice, run: RunId, remote: &Remote) -> Result<Arc<Definition>, Error> {
    let (id, mut tasks) = (run.to_string(), Map::new());
    let mut after: Option<String> = None;
    loop {
        let asked = remote.client().tasks(&id, None, after.as_deref(), 1_000);
        let page = remote.ask("list the run's tasks", asked)?;
        tasks.extend(page.items.into_iter().map(|task| (task.name, json!({"sleep": "0s"}))));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let name = match workflow {
        WorkflowChoice::Name(name) => name.split('@').next().unwrap_or_default(),
        WorkflowChoice::Inline(_) => "run",
    };
    let flow = json!({"name": name, "tasks": tasks}).to_string();
    let checked = convert::read_workflow(Path::new("run.json"), flow.as_bytes(), &Rules::default());
    checked.map(|checked| checked.definition).map_err(Error::File)
}

fn tell(created: &RunCreated, remote: &Remote, teller: &mut Teller<'_>) -> Result<(), Error> {
    let RunCreated { run_id, status, existing } = created;
    if teller.is_json {
        let told = json!({"run": run_id, "status": status, "existing": existing, "server": remote.place()});
        writeln!(teller.out, "{told}")?;
        return Ok(());
    }
    let option = remote.option();
    match existing {
        true => teller.line("run", &format!("{run_id}, there before under this key: {status}"))?,
        false => teller.line("run", &format!("{run_id} is {status} at {}", remote.place()))?,
    }
    teller.line("", &format!("see `unknot show {run_id}{option}`, `unknot logs {run_id} -f{option}`"))
}

fn wait(
    created: &RunCreated,
    progress: Progress,
    remote: Remote,
    interrupts: &signals::Interrupts,
    teller: &mut Teller<'_>,
) -> Result<Exit, Error> {
    let run = progress.run;
    let data = local_data(&remote);
    if teller.is_json {
        let start = json!({"start": {"run": run, "existing": created.existing, "tasks": progress.total(), "server": remote.place()}});
        writeln!(teller.out, "{start}")?;
        teller.out.flush()?;
    }
    teller.line("run", &format!("{run}; Ctrl-C leaves it to the server"))?;
    let clock = Clock::starting_at_least(Timestamp::default());
    let view = View::new(teller.is_json, &progress, data.as_deref(), clock.now());
    let mut follow = Follow::start(&remote, progress, view, clock, OnInterrupt::Detach)?;
    let left = follow.until_the_end(interrupts, teller)?;
    drop(follow);
    let option = remote.option().to_owned();
    if left == Left::Detached {
        let note = format!("{run} goes on: `unknot show {run}{option}`, end it with `unknot cancel {run}{option}`");
        teller.line("note", &note)?;
        return Ok(Exit::Killed);
    }
    let mut source = Source::Server(Box::new(remote));
    let ended = source.find(&run.to_string())?;
    let summary = summary::of_server(&mut source, &ended)?;
    let exit = read_word::<RunStatus>(&ended.summary.status).map_or(Exit::Environment, Exit::of);
    if teller.is_json {
        writeln!(teller.out, "{}", json!({"summary": summary.as_json(exit)}))?;
    } else {
        summary.write(exit, teller.out, teller.paint, terminal::size().columns)?;
    }
    Ok(exit)
}

/// The data folder of a server on this machine: what tasks print can be seen growing there.
fn local_data(remote: &Remote) -> Option<PathBuf> {
    match remote.client().address() {
        Address::Local(socket) => socket.parent().map(Path::to_path_buf),
        Address::Network { .. } => None,
    }
}
