//! Histories and streams.

use crate::support::{Opened, Served, sleeps, stands};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A stream of server-sent events.
struct Listener {
    opened: Opened,
    text: String,
}

/// One event as it was sent.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    id: Option<String>,
    event: String,
    data: Value,
}

impl Listener {
    fn new(served: &Served, run: &str, after: Option<&str>) -> Self {
        let mut ask = served.ask("GET", &format!("/runs/{run}/events")).header("Accept", "text/event-stream");
        if let Some(after) = after {
            ask = ask.header("Last-Event-ID", after);
        }
        let opened = Opened::read(ask.begin());
        assert_eq!(opened.status, 200);
        assert!(opened.headers.contains(&("content-type".to_owned(), "text/event-stream".to_owned())));
        Self { opened, text: String::new() }
    }

    /// The next event; none once the stream has ended.
    fn next(&mut self) -> Option<Sent> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
                };
                if let Some(event) = field("event") {
                    let data = serde_json::from_str(&field("data").unwrap()).unwrap();
                    return Some(Sent { id: field("id"), event, data });
                }
            }
            let chunk = self.opened.chunk()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    fn rest(mut self) -> Vec<Sent> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// Tasks that sleep one after the other.
fn chain(name: &str, tasks: usize, length: &str) -> Value {
    let task = |place: usize| match place {
        0 => json!({"sleep": length}),
        _ => json!({"sleep": length, "needs": [format!("t{}", place - 1)]}),
    };
    let tasks: serde_json::Map<String, Value> = (0..tasks).map(|place| (format!("t{place}"), task(place))).collect();
    json!({"name": name, "tasks": tasks})
}

#[test]
fn a_stream_tells_what_the_list_tells_and_then_ends() {
    let served = Served::open();
    let run = served.submit(chain("chain", 5, "10ms"));
    let mut heard = Listener::new(&served, &run, None).rest();
    let end = heard.pop().unwrap();
    assert_eq!((end.event.as_str(), end.id), ("end", None));
    let listed = served.all(&format!("/runs/{run}/events"), 3);
    assert_eq!(heard.iter().map(|sent| sent.data.clone()).collect::<Vec<_>>(), listed);
    for sent in &heard {
        assert_eq!(
            (sent.id.as_deref(), sent.event.as_str()),
            (sent.data["id"].as_str(), sent.data["event"].as_str().unwrap())
        );
    }
    assert_eq!(heard.first().unwrap().event, "RUN_SUBMITTED");
    assert_eq!(heard.last().unwrap().event, "RUN_COMPLETED");
}

#[test]
fn it_goes_on_behind_the_last_event_that_was_heard() {
    let served = Served::open();
    let (run, _) = served.complete(chain("chain", 5, "1ms"));
    let whole = Listener::new(&served, &run, None).rest();
    for (place, sent) in whole.iter().enumerate().filter(|(_, sent)| sent.id.is_some()) {
        let rest = Listener::new(&served, &run, sent.id.as_deref()).rest();
        assert_eq!(rest, whole[place + 1..], "behind {place}");
    }
    let all = format!("/runs/{run}/events");
    let first = whole[0].id.clone().unwrap();
    let behind = served.ask("GET", &all).header("Last-Event-ID", &first).send().is(200).json();
    assert_eq!(behind["items"][0]["id"].as_str(), whole[1].id.as_deref());
    for wrong in ["x", "1", "1.x", ".", "-1.0", "99999999999999999999.0"] {
        served.ask("GET", &all).header("Last-Event-ID", wrong).send().problem(400);
        served.ask("GET", &format!("{all}?after={wrong}")).send().problem(400);
    }
    let missing = served.ask("GET", "/runs/run_01ARZ3NDEKTSV4RRFFQ69G5FAV/events");
    missing.header("Accept", "text/event-stream").send().problem(404);
}

#[test]
fn a_listener_that_comes_early_hears_what_happens_later() {
    let served = Served::open();
    let run = served.submit(sleeps("one", "1h"));
    let mut listener = Listener::new(&served, &run, None);
    assert_eq!(listener.next().unwrap().event, "RUN_SUBMITTED");
    served.ask("PUT", &format!("/runs/{run}/cancel")).send().is(200);
    let rest = listener.rest();
    let words: Vec<&str> = rest.iter().map(|sent| sent.event.as_str()).collect();
    assert!(words.contains(&"RUN_CANCELLED") && words.last() == Some(&"end"), "{words:?}");
}

#[test]
fn a_slow_listener_holds_up_nobody_and_misses_nothing() {
    let served = Served::open();
    let run = served.submit(stands("many", 20_000));
    // Nothing is read of this one until all is over.
    let slow = Listener::new(&served, &run, None);
    served.ask("PUT", &format!("/runs/{run}/cancel")).send().is(200);
    served.until_status(&run, "CANCELLED");
    let begun = Instant::now();
    served.get("/health");
    assert!(begun.elapsed() < Duration::from_secs(2));
    let heard = slow.rest();
    let listed = served.all(&format!("/runs/{run}/events"), 1_000);
    assert_eq!(heard.len() - 1, listed.len());
    assert!(heard.iter().zip(&listed).all(|(sent, line)| sent.data == *line));
}

#[test]
fn two_hundred_listeners_hear_the_same() {
    let served = Served::open();
    let run = served.submit(sleeps("one", "1h"));
    let listeners: Vec<Listener> = (0..200).map(|_| Listener::new(&served, &run, None)).collect();
    served.ask("PUT", &format!("/runs/{run}/cancel")).send().is(200);
    let heard: Vec<Vec<Sent>> = listeners.into_iter().map(Listener::rest).collect();
    assert!(heard[0].len() > 3);
    assert!(heard.iter().all(|one| *one == heard[0]));
}
