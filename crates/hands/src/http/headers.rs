//! What a request says of itself, hop by hop.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use unknot_api::work::{HttpBody, HttpWork};

use super::failure::Failure;
use super::target::Target;

/// Headers that follow from the connection and the body; another one would contradict them.
const OURS: [HeaderName; 5] =
    [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::UPGRADE, header::TE];

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request without its address.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    headers: HeaderMap,
    body: Bytes,
}

impl Outgoing {
    /// The request of a task, for its first hop.
    ///
    /// # Errors
    ///
    /// If the method or a header is none. Values of headers are in no message: they may be secrets.
    pub(super) fn of(work: &HttpWork, key: &str) -> Result<Self, Failure> {
        let method = Method::from_bytes(work.method.as_bytes())
            .map_err(|_| Failure::request(format!("`{}` is no method", work.method)))?;
        if method == Method::CONNECT {
            return Err(Failure::request("the method `CONNECT` asks for a tunnel, not for an answer".to_owned()));
        }
        let mut headers = usual_headers();
        if !super::is_safe(&method) {
            headers.insert(IDEMPOTENCY_KEY, value("idempotency-key", key)?);
        }
        let body = match &work.body {
            None => Bytes::new(),
            Some(HttpBody::Json(json)) => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Bytes::copy_from_slice(json.as_str().as_bytes())
            }
            Some(HttpBody::Text(text)) => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
                Bytes::copy_from_slice(text.as_bytes())
            }
        };
        for (name, text) in &work.headers {
            let known = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| Failure::request(format!("`{name}` is no name of a header")))?;
            if OURS.contains(&known) {
                return Err(Failure::request(format!("the header `{known}` follows from the rest and cannot be set")));
            }
            headers.insert(known, value(name, text)?);
        }
        // The connection serves one request; a server that knows it closes in good order.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        Ok(Self { method, headers, body })
    }

    /// A JSON text with some headers, whose names are known to be sound.
    ///
    /// # Errors
    ///
    /// If a header's value is none.
    pub(super) fn json(key: &str, headers: &[(&'static str, String)], body: Bytes) -> Result<Self, Failure> {
        let mut all = usual_headers();
        all.insert(IDEMPOTENCY_KEY, value("idempotency-key", key)?);
        all.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, text) in headers {
            all.insert(HeaderName::from_static(name), value(name, text)?);
        }
        all.insert(header::CONNECTION, HeaderValue::from_static("close"));
        Ok(Self { method: Method::POST, headers: all, body })
    }

    /// The request as it is sent to `target`.
    ///
    /// # Errors
    ///
    /// If the two do not fit together.
    pub(super) fn request(&self, target: &Target) -> Result<Request<Full<Bytes>>, Failure> {
        let unfit = |error: hyper::http::Error| Failure::request(format!("the request cannot be made: {error}"));
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(target.path.as_str())
            .body(Full::new(self.body.clone()))
            .map_err(unfit)?;
        *request.headers_mut() = self.headers.clone();
        if !request.headers().contains_key(header::HOST) {
            let host = HeaderValue::from_str(&target.authority).map_err(|error| unfit(error.into()))?;
            request.headers_mut().insert(header::HOST, host);
        }
        Ok(request)
    }

    /// Makes of it the request that follows a redirect (RFC 9110, 15.4; as all clients do it for 301 and 302).
    pub(super) fn follow(&mut self, status: StatusCode, is_same_origin: bool) {
        let becomes_get = match status {
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = Bytes::new();
            for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, IDEMPOTENCY_KEY] {
                self.headers.remove(name);
            }
        }
        if !is_same_origin {
            self.headers.remove(header::HOST);
            // A secret is for the server that the task names and for no other.
            let secrets: Vec<HeaderName> = self.headers.keys().filter(|name| is_secret(name)).cloned().collect();
            for name in secrets {
                self.headers.remove(name);
            }
        }
    }
}

/// What every request says.
fn usual_headers() -> HeaderMap {
    let agent = HeaderValue::from_static(concat!("unknot/", env!("CARGO_PKG_VERSION")));
    HeaderMap::from_iter([(header::USER_AGENT, agent), (header::ACCEPT, HeaderValue::from_static("*/*"))])
}

fn value(name: &str, text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).or_else(|_| HeaderValue::from_bytes(text.as_bytes())).map_err(|_| {
        Failure::request(format!("the value of the header `{name}` has a line break or a control character"))
    })
}

/// Whether a header's value is likely to be a secret.
fn is_secret(name: &HeaderName) -> bool {
    let words = ["auth", "cookie", "key", "token", "secret", "password", "session", "signature", "credential"];
    *name != IDEMPOTENCY_KEY && words.iter().any(|word| name.as_str().contains(word))
}
