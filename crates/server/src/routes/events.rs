//! A run's history: in parts, or as a stream of server-sent events that can be resumed.

use super::{Params, ok, page_size, parse};
use crate::{
    app::App,
    files::Chunks,
    operation::{Operation, get},
    problem::{Answer, Problem},
    view,
};
use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    time::{Instant, timeout_at},
};
use unknot_api::rest;
use unknot_engine::{
    core::{CommitSeq, RunId},
    store::{Event, EventCursor, PageSize},
};

/// A stream that has nothing to tell says so, so that both ends know that the other is there.
const ALIVE_EVERY: Duration = Duration::from_secs(15);
/// Batches that a slow listener may be behind before its stream waits for it.
const BEHIND_MAX: usize = 16;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        get("/runs/{run_id}/events", history)
            .is("getEvents", "Read a run's history")
            .note(
                "With `Accept: text/event-stream` it goes on as things happen, until the run has ended; `Last-Event-ID` \
                 resumes it behind that event. Each event's `id` is its place, its `event` what happened, its `data` \
                 the same object as in the list; the last one is `end`. A server that ends says `server_ended`; the run \
                 goes on once there is one again.",
            )
            .query::<Which>()
            .header("Last-Event-ID", "Go on behind this event.")
            .gives::<rest::Page<rest::Event>>(200, "A part of it, the oldest first."),
    ]
}

/// Which part of the history.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// The `id` of the last event that is known already.
    after: Option<String>,
    /// Items of one part, 1 to 1,000 (100).
    #[schemars(range(min = 1, max = 1_000))]
    limit: Option<usize>,
}

async fn history(
    State(app): State<Arc<App>>,
    Path(run): Path<String>,
    Params(which): Params<Which>,
    headers: HeaderMap,
) -> Answer<Response> {
    let run: RunId = parse(&run, "the id of a run")?;
    let size = page_size(which.limit)?;
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let after = which.after.as_deref().or(resumed).map(cursor).transpose()?;
    super::runs::find(&app, run).await?;
    let accepts = headers.get(header::ACCEPT).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/event-stream") {
        return Ok(stream(app, run, after));
    }
    let page = app.list(move |reader, namespace| reader.events(namespace, run, after, size)).await?.value;
    let next = page.next.map(|next| format!("{}.{}", next.commit.0, next.line));
    ok(&rest::Page { items: page.items.iter().map(view::event).collect(), next })
}

fn cursor(text: &str) -> Answer<EventCursor> {
    let numbers = text.split_once('.').and_then(|(commit, line)| Some((commit.parse().ok()?, line.parse().ok()?)));
    let (commit, line) = numbers.ok_or_else(|| Problem::bad("an event's id is `COMMIT.LINE`"))?;
    Ok(EventCursor { commit: CommitSeq(commit), line })
}

fn stream(app: Arc<App>, run: RunId, after: Option<EventCursor>) -> Response {
    let (sender, chunks) = mpsc::channel::<io::Result<Bytes>>(BEHIND_MAX);
    tokio::spawn(async move {
        let mut teller = Teller { app, run, after, sender };
        // Whoever went away has nobody to be told for.
        teller.tell().await.unwrap_or_default();
    });
    let body = Body::from_stream(Chunks(chunks));
    let kind = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (StatusCode::OK, kind, body).into_response()
}

/// Tells one listener what happens to a run.
struct Teller {
    app: Arc<App>,
    run: RunId,
    after: Option<EventCursor>,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

/// The listener went away.
struct Gone;

impl Teller {
    /// Reads what is stored, then passes on what becomes durable; reads again whenever it fell behind.
    async fn tell(&mut self) -> Result<(), Gone> {
        loop {
            // Listening begins before the reading, so nothing falls between.
            let mut live = self.app.engine.follow(self.run);
            if !self.catch_up().await? {
                return self.say("event: end\ndata: {}\n\n".into()).await;
            }
            loop {
                let heard = tokio::select! {
                    heard = timeout_at(Instant::now() + ALIVE_EVERY, live.recv()) => heard,
                    () = self.app.ending() => return self.say("event: server_ended\ndata: {}\n\n".into()).await,
                };
                match heard {
                    Ok(Ok(lines)) => {
                        self.pass_on(&lines).await?;
                        if lines.iter().any(|line| line.entry.event.ends_run()) {
                            break;
                        }
                    }
                    Ok(Err(RecvError::Lagged(_) | RecvError::Closed)) => break,
                    Err(_) => {
                        self.say(": still here\n\n".into()).await?;
                        // The end of a run whose last lines were missed shall not be waited for.
                        break;
                    }
                }
            }
        }
    }

    /// Tells what is stored behind `after`; says whether more may come.
    async fn catch_up(&mut self) -> Result<bool, Gone> {
        loop {
            let (run, after) = (self.run, self.after);
            let asked = self.app.list(move |reader, namespace| {
                let is_over = reader.run(namespace, run)?.value.is_none_or(|record| record.status().is_terminal());
                Ok((is_over, reader.events(namespace, run, after, PageSize::MAX)?.value))
            });
            // A store that does not answer now is asked again by the next round.
            let Ok((is_over, page)) = asked.await else { return Ok(true) };
            let was_last = page.items.is_empty();
            self.pass_on(&page.items).await?;
            if was_last || page.next.is_none() {
                return Ok(!is_over);
            }
        }
    }

    async fn pass_on(&mut self, lines: &[Event]) -> Result<(), Gone> {
        let mut text = String::new();
        for line in lines.iter().filter(|line| self.after.is_none_or(|after| line.cursor > after)) {
            let told = view::event(line);
            // Texts and numbers: it cannot fail. A line break inside is escaped by JSON.
            let data = serde_json::to_string(&told).unwrap_or_default();
            text.push_str(&format!("id: {}\nevent: {}\ndata: {data}\n\n", told.id, told.event));
        }
        if let Some(last) = lines.last() {
            self.after = self.after.max(Some(last.cursor));
        }
        if text.is_empty() { Ok(()) } else { self.say(text.into()).await }
    }

    async fn say(&self, bytes: Bytes) -> Result<(), Gone> {
        self.sender.send(Ok(bytes)).await.map_err(|_| Gone)
    }
}
