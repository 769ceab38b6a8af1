//! Verdicts about work that stands still.

use super::{Params, Sent, ok, page_size, parse, runs::Nothing, waits::judge};
use crate::{
    app::App,
    operation::{Operation, get, post, put},
    problem::{Answer, Problem},
    tokens::{Identity, Scope},
    view,
};
use axum::{
    Extension,
    extract::{Path, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use tokio::task::{JoinError, spawn_blocking};
use unknot_api::{Moment, rest};
use unknot_engine::{
    CommandError,
    core::{
        RunId, Timestamp,
        deadlock::{Deadlock, Finding, Mark, Outcome, VerdictId},
        wait::{Watched, dot, mermaid, reduce},
    },
    store::VerdictFilter,
};

/// Characters of a note.
const NOTE_MAX: usize = 1_000;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        get("/deadlocks", list)
            .is("listDeadlocks", "List verdicts about work that stood still, the newest first")
            .note("Proved deadlocks, and runs that stood still for too long. `docs/deadlocks.md` says what each means.")
            .query::<Filter>()
            .gives::<rest::Page<rest::VerdictSummary>>(200, "A part of the list."),
        get("/deadlocks/{deadlock_id}", show)
            .is("getDeadlock", "Show a verdict: who held what, who waited for what, and what was done")
            .gives::<rest::Verdict>(200, "The verdict."),
        get("/deadlocks/{deadlock_id}/graph", draw)
            .is("getDeadlockGraph", "Draw the graph that a verdict judged")
            .query::<Drawn>()
            .gives::<rest::Graph>(200, "The exchange format, or a drawing for Graphviz or Mermaid as text."),
        post("/deadlocks/scan", scan)
            .needs(Scope::Read)
            .is("scanForDeadlocks", "Judge everything now, and report which runs stand still; nothing is done about it")
            .note("Read from the store, off the brain's thread. Nothing is kept, and nobody is told.")
            .gives::<rest::ScanReport>(200, "What was found."),
        put("/deadlocks/{deadlock_id}/mark", mark)
            .is("markDeadlock", "Say of a verdict that it was wrong, or take that back")
            .takes::<rest::MarkRequest>()
            .gives::<rest::Verdict>(200, "The verdict as it is kept now."),
    ]
}

/// Which verdicts are listed; all conditions must hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// Only about this run, or about runs that it started, those that these started, and so on, up to 50 levels down.
    run: Option<String>,
    /// Only of this kind.
    #[schemars(extend("enum" = rest::VERDICT_KINDS))]
    kind: Option<String>,
    /// Only with this outcome.
    #[schemars(extend("enum" = rest::VERDICT_OUTCOMES))]
    outcome: Option<String>,
    /// Only made at this moment or later.
    since: Option<Moment>,
    /// Whether only those are listed that are not over.
    #[serde(default)]
    open: bool,
    /// The `next` of the part before.
    after: Option<String>,
    /// Items of one part, 1 to 1,000 (100).
    #[schemars(range(min = 1, max = 1_000))]
    limit: Option<usize>,
}

/// How a graph is drawn.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Drawn {
    /// The exchange format, a drawing for Graphviz, or one for Mermaid (json).
    #[serde(default)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Json,
    Dot,
    Mermaid,
}

fn kind(word: &str) -> Answer<Finding> {
    let found = Finding::ALL.into_iter().find(|kind| kind.word() == word);
    found.ok_or_else(|| unexpected(word, "kind", &rest::VERDICT_KINDS))
}

fn outcome(word: &str) -> Answer<&'static str> {
    let found = Outcome::WORDS.into_iter().find(|known| *known == word);
    found.ok_or_else(|| unexpected(word, "outcome", &rest::VERDICT_OUTCOMES))
}

fn unexpected(word: &str, what: &str, known: &[&str]) -> Problem {
    let shown: String = word.chars().take(80).collect();
    Problem::bad(format!("`{shown}` is no {what} of a verdict; expected one of {}", known.join(", ")))
}

async fn list(State(app): State<Arc<App>>, Params(filter): Params<Filter>) -> Answer<Response> {
    let size = page_size(filter.limit)?;
    let cursor = |text: &str| text.parse::<VerdictId>().map_err(|_| Problem::bad("`after` is no `next` of this list"));
    let after = filter.after.as_deref().map(cursor).transpose()?.map(|id| id.0);
    let wanted = VerdictFilter {
        run: filter.run.as_deref().map(|run| parse::<RunId>(run, "the id of a run")).transpose()?,
        kind: filter.kind.as_deref().map(kind).transpose()?,
        outcome: filter.outcome.as_deref().map(outcome).transpose()?,
        since: filter.since.map(|at| Timestamp(at.ms)),
        is_open: filter.open,
    };
    let page = app.list(move |reader, namespace| reader.verdicts(namespace, &wanted, after, size)).await?.value;
    let items = page.items.iter().map(view::verdict_summary).collect();
    ok(&rest::Page { items, next: page.next.map(|seq| VerdictId(seq).to_string()) })
}

/// A verdict, whole.
async fn find(app: &Arc<App>, id: &str) -> Answer<Deadlock> {
    let id: VerdictId = parse(id, "the id of a verdict (`dl_7`)")?;
    let found = app.read(move |reader, namespace| reader.verdict(namespace, id.0)).await?.value;
    found.ok_or_else(|| Problem::not_found(format!("there is no verdict `{id}`")))
}

async fn show(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Params(Nothing {}): Params<Nothing>,
) -> Answer<Response> {
    ok(&view::verdict(&find(&app, &id).await?))
}

async fn draw(State(app): State<Arc<App>>, Path(id): Path<String>, Params(drawn): Params<Drawn>) -> Answer<Response> {
    let graph = find(&app, &id).await?.graph;
    let (kind, text) = match drawn.format {
        Format::Json => return ok(&view::graph(&graph)),
        Format::Dot => ("text/vnd.graphviz; charset=utf-8", dot(&graph, &reduce(&graph))),
        Format::Mermaid => ("text/plain; charset=utf-8", mermaid(&graph, &reduce(&graph))),
    };
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], text).into_response())
}

async fn scan(State(app): State<Arc<App>>, Params(Nothing {}): Params<Nothing>) -> Answer<Response> {
    let since = app.engine.monitor().watched_since;
    let report = judge(&app, move |state, now, as_of| view::scan_report(state, Watched { now, since }, as_of));
    ok(&report.await?)
}

async fn mark(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Extension(who): Extension<Identity>,
    _: Params<Nothing>,
    Sent(asked): Sent<rest::MarkRequest>,
) -> Answer<Response> {
    let id: VerdictId = parse(&id, "the id of a verdict (`dl_7`)")?;
    if asked.note.as_ref().is_some_and(|note| note.chars().count() > NOTE_MAX) {
        return Err(Problem::bad(format!("`note` has more than {NOTE_MAX} characters")));
    }
    let mark = match asked.mark {
        rest::MarkWord::FalsePositive => Some(Mark { by: who.name, at: app.engine.now(), note: asked.note }),
        rest::MarkWord::None => None,
    };
    let engine = Arc::clone(&app.engine);
    let marking = spawn_blocking(move || engine.mark(id.0, mark));
    let broken = |error: JoinError| CommandError::Stopped { cause: error.to_string() };
    let marked = app.unless_stuck(async { marking.await.map_err(broken)? }).await?;
    ok(&view::verdict(&marked.ok_or_else(|| Problem::not_found(format!("there is no verdict `{id}`")))?))
}
