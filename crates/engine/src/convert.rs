//! From a workflow file to a definition: the only place where the types of `api` and `core` meet.
//!
//! The file's form is checked by `api`, its meaning by `core`; here names are carried over, and
//! what the core says of a path is said of a line and column.

use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, io, path::Path, sync::Arc};
use unknot_api::{
    Duration, Size, Text,
    document::{Document, OnKey},
    report::{Diagnostic, Report, Severity},
    source::Source,
    work::{HttpOutput, HttpTimeouts, HttpWork},
    workflow::{self as file, OnDeadlock},
};
use unknot_core::{
    Millis, Timestamp,
    deadlock::Policy,
    validate::{
        self, Draft, DraftAcquire, DraftAcquires, DraftCancel, DraftNeed, DraftNeeds, DraftOnFailure, DraftRetry,
        DraftTask, NeedsCount, On, Problem, Rules,
    },
    workflow::{
        Await, Call, Child, Command, Definition, DefinitionHash, ForEach, Http, HttpRules, InputDecl, InputType,
        Limits, OnChildFailure, OnLost, Priority, Stored, TaskKind, Until, When,
    },
};

/// A workflow file that may run.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What the brain runs.
    pub definition: Arc<Definition>,
    /// What may still surprise its author.
    pub warnings: Report,
    /// What the file says about its runs.
    pub run: RunOptions,
}

/// What a workflow file says about its runs beside their definition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Not before this moment.
    pub start_at: Option<Timestamp>,
    /// Not before so long after the submission; never together with `start_at`.
    pub delay: Option<Millis>,
    /// Who the runs are for.
    pub client_id: Option<String>,
    /// Labels of every run.
    pub labels: BTreeMap<String, String>,
    /// A sentence for people.
    pub description: Option<String>,
}

/// Reads and checks a workflow file.
///
/// The definition's hash covers what the file means: comments, order of keys and the choice
/// between YAML and JSON do not change it.
///
/// # Errors
/// Everything that is wrong with the file, each with its line and column, up to the bound of a report.
pub fn read_workflow(path: &Path, bytes: &[u8], rules: &Rules) -> Result<Checked, Report> {
    let source = Source::new(path.display().to_string(), bytes)?;
    let document = Document::load(&source)?;
    let mut workflow = file::WorkflowFile::read(&document)?;
    let run = run_options(&mut workflow);
    let mut check =
        validate::check(draft(workflow), rules).map_err(|problems| report(&document, problems, Severity::Error))?;
    if run.delay.is_some_and(|delay| delay > validate::LONGEST) {
        let message = "`delay` is longer than anything may last";
        let problem =
            Problem::new(validate::Code::Range, "delay", message).expected(format!("at most {}", validate::LONGEST));
        return Err(report(&document, vec![problem], Severity::Error));
    }
    check.definition.body.hash = content_hash(&check.definition.body);
    Ok(Checked {
        definition: Arc::new(check.definition),
        warnings: report(&document, check.warnings, Severity::Warning),
        run,
    })
}

/// Problems of the core about an input that did not come from a file, in the same form.
pub fn input_report(title: &str, problems: Vec<Problem>) -> Report {
    Report::new(title, problems.into_iter().map(|problem| diagnostic(problem, Severity::Error)).collect())
}

/// Problems of a workflow file that was read before, at their lines; without these where it cannot be read any more.
pub fn workflow_report(path: &Path, bytes: &[u8], problems: Vec<Problem>) -> Report {
    let title = path.display().to_string();
    let Ok(source) = Source::new(title.clone(), bytes) else { return input_report(&title, problems) };
    match Document::load(&source) {
        Ok(document) => report(&document, problems, Severity::Error),
        Err(_) => input_report(&title, problems),
    }
}

fn report(document: &Document<'_>, problems: Vec<Problem>, severity: Severity) -> Report {
    let on_key = |on| if on == On::Key { OnKey::Yes } else { OnKey::No };
    document.report(
        problems
            .into_iter()
            .map(|problem| (on_key(problem.on), problem))
            .map(|(on, problem)| (diagnostic(problem, severity), on))
            .collect(),
    )
}

fn diagnostic(problem: Problem, severity: Severity) -> Diagnostic {
    let mut diagnostic = Diagnostic::with_code(problem.code.as_str(), severity, problem.message).at(problem.path);
    diagnostic.expected = problem.expected;
    diagnostic.help = match (problem.nearest, problem.help) {
        (Some(nearest), _) => Some(format!("did you mean `{nearest}`?")),
        (None, help) => help,
    };
    diagnostic
}

impl Checked {
    /// What two submissions under one idempotency key must have in common: the definition, the inputs
    /// (checked, defaults filled in, keys in order), and whose the run is.
    pub fn body_hash(&self, input: &serde_json::Value) -> String {
        hash(&(&self.definition.body.hash, input, &self.run.labels, &self.run.client_id))
    }
}

/// The definition's hash, with the keys of free values in order.
fn content_hash(body: &Stored) -> DefinitionHash {
    DefinitionHash(hash(body).into())
}

/// SHA-256 of the JSON of something that is always JSON.
fn hash(value: &impl Serialize) -> String {
    let mut hasher = io::BufWriter::with_capacity(64 * 1024, HashWriter(Sha256::new()));
    // Writing into a hash cannot fail, and neither a definition nor an input has keys that JSON refuses.
    serde_json::to_writer(&mut hasher, value).expect("what is hashed is always JSON");
    let digest = hasher.into_inner().unwrap_or_else(|_| unreachable!("a hash takes every byte")).0.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct HashWriter(Sha256);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn run_options(workflow: &mut file::WorkflowFile) -> RunOptions {
    RunOptions {
        start_at: workflow.start_at.map(|moment| Timestamp(moment.ms)),
        delay: workflow.delay.map(millis),
        client_id: workflow.client_id.take(),
        labels: texts(std::mem::take(&mut workflow.labels)),
        description: workflow.description.take(),
    }
}

fn draft(workflow: file::WorkflowFile) -> Draft {
    Draft {
        name: workflow.name,
        timeout: workflow.timeout.map(millis),
        max_parallel: workflow.max_parallel,
        inputs: workflow.input.into_iter().map(|(name, input)| (name, declared(input))).collect(),
        output: workflow.output.map(sorted),
        on_deadlock: workflow.on_deadlock.map(on_deadlock),
        pending_stale: workflow.pending_stale.map(millis),
        workflow_stale: workflow.workflow_stale.map(millis),
        tasks: workflow.tasks.into_iter().map(|(name, task)| draft_task(name, task)).collect(),
    }
}

fn declared(input: file::InputFile) -> InputDecl {
    let type_ = input.type_.map(|word| match word {
        file::InputTypeFile::String => InputType::String,
        file::InputTypeFile::Integer => InputType::Integer,
        file::InputTypeFile::Number => InputType::Number,
        file::InputTypeFile::Boolean => InputType::Boolean,
        file::InputTypeFile::Array => InputType::Array,
        file::InputTypeFile::Object => InputType::Object,
    });
    InputDecl { type_, default: input.default.map(sorted), description: input.description }
}

/// A free value with its keys in order, so that their order in the file does not count.
fn sorted(mut value: serde_json::Value) -> serde_json::Value {
    value.sort_all_objects();
    value
}

/// What is done about a deadlock, in the brain's words.
pub fn on_deadlock(on_deadlock: OnDeadlock) -> Policy {
    match on_deadlock {
        OnDeadlock::Retry => Policy::Retry,
        OnDeadlock::Cancel => Policy::Cancel,
        OnDeadlock::Alert => Policy::Alert,
    }
}

fn draft_task(name: String, task: file::TaskFile) -> DraftTask {
    let limits = task.limits.map(limits).unwrap_or_default();
    let senders = match &task.kind {
        file::KindFile::Signal(signal) => signal.from.clone(),
        _ => Vec::new(),
    };
    DraftTask {
        name,
        senders,
        kind: kind(task.kind, task.timeout),
        needs: task.needs.map(needs).unwrap_or_default(),
        when: task.when.map(when).unwrap_or_default(),
        priority: task.priority.map(priority).unwrap_or_default(),
        queue: task.queue,
        timeout: task.timeout.map(millis),
        queue_timeout: task.queue_timeout.map(millis),
        heartbeat_timeout: task.heartbeat_timeout.map(millis),
        retry: task.retry.map(retry).unwrap_or_default(),
        on_lost: task.on_lost.map(on_lost).unwrap_or_default(),
        on_failure: task.on_failure.map(on_failure).unwrap_or_default(),
        cancel: task.cancel.map(cancel).unwrap_or_default(),
        env: texts(task.env),
        cwd: task.cwd,
        pools: task.pools,
        locks: task.locks,
        acquires: task.acquires.map(acquires),
        spawns: task.spawns,
        limits,
    }
}

fn acquires(acquires: file::AcquiresFile) -> DraftAcquires {
    let step = |step: file::AcquireFile| DraftAcquire { pools: step.pools, locks: step.locks };
    DraftAcquires { steps: acquires.steps.into_iter().map(step).collect(), is_list: acquires.is_list }
}

fn kind(kind: file::KindFile, timeout: Option<Duration>) -> TaskKind {
    match kind {
        file::KindFile::Exec(file::CommandFile::Argv(words)) => TaskKind::Exec(Command::Argv(words)),
        file::KindFile::Exec(file::CommandFile::Shell(line)) => TaskKind::Exec(Command::Shell(line)),
        file::KindFile::Http(request) => TaskKind::Http(Box::new(http(*request, timeout))),
        file::KindFile::Worker(call) => TaskKind::Worker(Call {
            handler: call.handler.into(),
            input: call.input.unwrap_or_else(|| serde_json::Value::Object(Default::default())),
        }),
        file::KindFile::Sleep(length) => TaskKind::Sleep(millis(length)),
        file::KindFile::Signal(signal) => TaskKind::Signal(Await::anybodys(signal.name)),
        file::KindFile::Workflow(started) => TaskKind::Workflow(Box::new(child(*started))),
    }
}

/// The runs that a task starts; without `input` each is given an empty object.
fn child(child: file::ChildFile) -> Child {
    let on_child_failure = match child.on_child_failure {
        None | Some(file::OnChildFailureFile::Fail) => OnChildFailure::Fail,
        Some(file::OnChildFailureFile::Continue) => OnChildFailure::Continue,
    };
    let for_each =
        child.for_each.map(|file::ItemsFile(items)| ForEach { items: sorted(items), max_parallel: child.max_parallel });
    Child {
        workflow: child.workflow.into(),
        input: child.input.map_or_else(|| serde_json::Value::Object(Default::default()), sorted),
        detached: child.detached.unwrap_or(false),
        on_child_failure,
        for_each,
    }
}

/// A request, with everything that the file left open as the hand would have it, but no clock longer than an attempt.
fn http(request: file::HttpFile, timeout: Option<Duration>) -> Http {
    let usual = HttpTimeouts::default();
    let clock = |own: Option<Duration>, usual_ms| {
        let longest_ms = timeout.map_or(usual_ms, |timeout| timeout.ms);
        own.map_or(Millis(usual_ms.min(longest_ms)), millis)
    };
    let own = request.timeouts.as_ref();
    let method = request.method.map_or(if request.body.is_some() { "POST" } else { "GET" }, |method| method.0);
    Http {
        method: method.to_owned(),
        url: request.url,
        headers: texts(request.headers),
        body: request.body,
        rules: HttpRules {
            connect: clock(own.and_then(|own| own.connect), usual.connect_ms),
            headers: clock(own.and_then(|own| own.headers), usual.headers_ms),
            first_byte: clock(own.and_then(|own| own.first_byte), usual.first_byte_ms),
            gap: clock(own.and_then(|own| own.gap), usual.gap_ms),
            body_bytes_max: request.max_body.map_or(HttpWork::body_bytes_max_default(), |size| size.bytes),
            redirects_max: request.redirects.unwrap_or(HttpWork::redirects_max_default()),
            expect: request.expect.into_iter().flatten().map(|range| (range.first, range.last)).collect(),
            describes: request.output == Some(HttpOutput::Response),
        },
    }
}

fn needs(needs: file::NeedsFile) -> DraftNeeds {
    let (count, of) = match needs {
        file::NeedsFile::All(of) => (NeedsCount::All, of),
        file::NeedsFile::Any(of) => (NeedsCount::Any, of),
        file::NeedsFile::AtLeast(count, of) => (NeedsCount::AtLeast(count), of),
    };
    let need = |need: file::NeedFile| {
        let until = match need.until {
            file::UntilFile::Succeeded => Until::Succeeded,
            file::UntilFile::Finished => Until::Finished,
        };
        DraftNeed { task: need.task, until }
    };
    DraftNeeds { count, of: of.into_iter().map(need).collect() }
}

fn when(when: file::WhenFile) -> When {
    match when {
        file::WhenFile::Always => When::Always,
        file::WhenFile::Fallback => When::Fallback,
        file::WhenFile::Expr(condition) => When::Expr(condition),
    }
}

fn priority(priority: file::PriorityFile) -> Priority {
    match priority {
        file::PriorityFile::High => Priority::High,
        file::PriorityFile::Medium => Priority::Medium,
        file::PriorityFile::Low => Priority::Low,
    }
}

fn retry(retry: file::RetryFile) -> DraftRetry {
    let backoff = retry.backoff.as_ref();
    DraftRetry {
        attempts: retry.attempts,
        first: backoff.and_then(|backoff| backoff.first).map(millis),
        factor: backoff.and_then(|backoff| backoff.factor),
        max: backoff.and_then(|backoff| backoff.max).map(millis),
        jitter: backoff.and_then(|backoff| backoff.jitter),
        on_exits: retry
            .on_exits
            .map(|exits| exits.into_iter().map(|status| i32::try_from(status).unwrap_or(i32::MAX)).collect()),
    }
}

fn on_lost(on_lost: file::OnLostFile) -> OnLost {
    match on_lost {
        file::OnLostFile::Retry => OnLost::Retry,
        file::OnLostFile::Fail => OnLost::Fail,
        file::OnLostFile::Hold => OnLost::Hold,
    }
}

fn on_failure(on_failure: file::OnFailureFile) -> DraftOnFailure {
    match on_failure {
        file::OnFailureFile::Fail => DraftOnFailure::Fail,
        file::OnFailureFile::Continue => DraftOnFailure::Continue,
        file::OnFailureFile::Fallback(task) => DraftOnFailure::Fallback(task),
    }
}

fn cancel(cancel: file::CancelFile) -> DraftCancel {
    DraftCancel { told: cancel.told.map(millis), term: cancel.term.map(millis), kill: cancel.kill.map(millis) }
}

fn limits(limits: file::LimitsFile) -> Limits {
    let bytes = |size: Size| size.bytes;
    Limits {
        memory_bytes: limits.memory.map(bytes),
        cpu_time: limits.cpu_time.map(millis),
        processes: limits.processes,
        open_files: limits.open_files,
        file_size_bytes: limits.file_size.map(bytes),
        cpu_cores: limits.cpu,
    }
}

fn millis(length: Duration) -> Millis {
    Millis(length.ms)
}

fn texts(list: Vec<(String, Text)>) -> BTreeMap<String, String> {
    list.into_iter().map(|(name, Text(value))| (name, value)).collect()
}
