//! What every request must pass, whatever it wants: names, origins, kinds of bodies, and how often.
//!
//! A browser on another site can send requests to a loopback address, with or without its user's knowledge. So a
//! request must name this server (`Host`: no rebinding of names), must not come from another origin, and a body
//! must call itself JSON, which no form on another site can make it do. There is no CORS.

use crate::{
    app::{App, Rate},
    auth::Peer,
    problem::Problem,
};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Clients whose requests are counted at once; beyond, those that were quiet longest are forgotten.
const CLIENTS_MAX: usize = 10_000;
/// From here on a request is called slow.
const SLOW: Duration = Duration::from_secs(1);

/// Passes a request on, or says what is wrong with it.
pub(crate) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let asked = Asked::of(&request);
    let answer = match judge(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    asked.tell(&app, answer.status(), begun.elapsed());
    as_it_is(answer)
}

/// No browser shall take an answer for something else than it says it is, or show it inside of another page.
fn as_it_is(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    answer
}

/// What the log says of a request. A query may hold what concerns nobody else, so it is left out.
struct Asked {
    method: Method,
    path: String,
    client: Option<IpAddr>,
    /// Whether it asked to wait for something.
    waits: bool,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let client = match request.extensions().get::<Peer>() {
            Some(Peer::Network(from)) => Some(from.ip()),
            Some(Peer::Local) | None => None,
        };
        // So do the calls of workers, and the waits of attempts.
        let path = request.uri().path();
        let is_poll = request.method() == Method::POST && (path.starts_with("/workers/") || path.ends_with("/waits"));
        let waits = is_poll || request.uri().query().is_some_and(|query| query.contains("wait"));
        Self { method: request.method().clone(), path: request.uri().path().to_owned(), client, waits }
    }

    fn tell(&self, app: &App, status: StatusCode, took: Duration) {
        let (method, path, took_ms) = (self.method.as_str(), self.path.as_str(), took.as_millis() as u64);
        let client = self.client.map_or_else(|| "local".to_owned(), |client| client.to_string());
        let status_code = status.as_u16();
        match status {
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::MISDIRECTED_REQUEST
            | StatusCode::TOO_MANY_REQUESTS => app.refused.say(|unsaid| {
                log::warn!(client, method, path, status = status_code, unsaid; "a request is refused");
            }),
            // `/health` answers so what it is asked; `serve` says by itself that commits are held up.
            _ if status.is_server_error() && path != "/health" => app.failed.say(|unsaid| {
                log::warn!(client, method, path, status = status_code, took_ms, unsaid; "a request cannot be answered");
            }),
            _ if took >= SLOW && !self.waits => app.slow.say(|unsaid| {
                log::warn!(client, method, path, took_ms, unsaid; "a request is slow");
            }),
            _ => log::debug!(client, method, path, status = status_code, took_ms; "a request"),
        }
    }
}

fn judge(app: &App, request: &Request) -> Result<(), Problem> {
    let peer = request.extensions().get::<Peer>().copied();
    let headers = request.headers();
    if let Some(Peer::Network(from)) = peer {
        let host = host_of(headers, request.uri())?;
        is_ours(app, host)?;
        same_origin(headers, host)?;
        app.limiter.take(from.ip(), app.now().rate, Instant::now())?;
    }
    is_text(request.uri().path())?;
    is_json(request.method(), headers, request.uri().path())
}

/// Whether a path is text once its escapes are read.
fn is_text(path: &str) -> Result<(), Problem> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *byte == b'%').and_then(|digits| str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    str::from_utf8(&bytes).map(drop).map_err(|_| Problem::bad("the path is not text in UTF-8"))
}

fn host_of<'r>(headers: &'r HeaderMap, uri: &'r Uri) -> Result<&'r str, Problem> {
    let mut named = headers.get_all(header::HOST).iter();
    let told = named.next().and_then(|host| host.to_str().ok());
    match (told, named.next(), uri.authority()) {
        (Some(host), None, None) => Ok(host),
        (Some(host), None, Some(authority)) if authority.as_str() == host => Ok(host),
        _ => Err(Problem::bad("a request has exactly one `Host`")),
    }
}

/// Whether the server may be asked under that name.
fn is_ours(app: &App, host: &str) -> Result<(), Problem> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let known = match name.parse::<IpAddr>() {
        // An address is no name that somebody else could point here.
        Ok(_) => true,
        Err(_) => {
            let now = app.now();
            let mut ours = now.hosts.iter().map(String::as_str).chain(["localhost"]);
            ours.any(|ours| ours.eq_ignore_ascii_case(name))
        }
    };
    let unknown = || {
        let detail = format!("`{name}` is no name of this server; add it to `server.hosts` if it should be");
        Problem::new(StatusCode::MISDIRECTED_REQUEST, detail)
    };
    known.then_some(()).ok_or_else(unknown)
}

/// Whether a browser that sends this shows a page of this very server.
fn same_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let from = origin.to_str().unwrap_or_default();
    let authority = from.strip_prefix("http://").or_else(|| from.strip_prefix("https://"));
    let foreign = || Problem::forbidden(format!("requests from pages of `{from}` are not answered"));
    (authority == Some(host)).then_some(()).ok_or_else(foreign)
}

/// Whether a body, if there is one, calls itself JSON; or, for what attempts send, bytes. No form can say either.
fn is_json(method: &Method, headers: &HeaderMap, path: &str) -> Result<(), Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let has_body = headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != "0");
    let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let is_bytes = path.starts_with("/attempts/") && essence.eq_ignore_ascii_case("application/octet-stream");
    let fits = is_bytes || essence.eq_ignore_ascii_case("application/json");
    let wrong = || {
        let detail = "a body must have `Content-Type: application/json`";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    };
    (!(changes && has_body) || fits).then_some(()).ok_or_else(wrong)
}

/// How often each client may ask: a token bucket an address.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    buckets: Mutex<BTreeMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Limiter {
    /// Takes one token of those that the rate gives.
    ///
    /// # Errors
    /// If there is none, with the time until there is one.
    pub(crate) fn take(&self, client: IpAddr, rate: Rate, now: Instant) -> Result<(), Problem> {
        let (burst, per_second) = (f64::from(rate.burst.max(1)), f64::from(rate.per_second.max(1)));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= CLIENTS_MAX && !buckets.contains_key(&client) {
            // Who has been quiet long enough has a full bucket again, so forgetting it changes nothing.
            buckets.retain(|_, bucket| bucket.at(now, per_second, burst) < burst);
        }
        let bucket = buckets.entry(client).or_insert(Bucket { tokens: burst, filled: now });
        bucket.tokens = bucket.at(now, per_second, burst);
        bucket.filled = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let pause = Duration::from_secs_f64((1.0 - bucket.tokens) / per_second);
        let detail = format!("more than {} requests a second from `{client}`", rate.per_second);
        Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(pause))
    }
}

impl Bucket {
    fn at(self, now: Instant, per_second: f64, burst: f64) -> f64 {
        (self.tokens + now.saturating_duration_since(self.filled).as_secs_f64() * per_second).min(burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_empty_after_its_burst_and_fills_with_time() {
        let limiter = Limiter::default();
        let rate = Rate { per_second: 10, burst: 3 };
        let (client, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let now = Instant::now();
        assert!((0..3).all(|_| limiter.take(client, rate, now).is_ok()));
        assert!(limiter.take(client, rate, now).is_err());
        assert!(limiter.take(other, rate, now).is_ok(), "each client has its own");
        assert!(limiter.take(client, rate, now + Duration::from_millis(99)).is_err());
        assert!(limiter.take(client, rate, now + Duration::from_millis(201)).is_ok());
    }

    #[test]
    fn many_clients_do_not_grow_it_for_ever() {
        let limiter = Limiter::default();
        let rate = Rate { per_second: 10, burst: 3 };
        let now = Instant::now();
        for client in 0..20_000u32 {
            let later = now + Duration::from_millis(u64::from(client));
            limiter.take(IpAddr::from(client.to_be_bytes()), rate, later).expect("its first");
        }
        assert!(limiter.buckets.lock().expect("whole").len() <= CLIENTS_MAX);
    }
}
