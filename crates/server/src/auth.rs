//! Who asks: a token, a browser's session, or the local user; and whether that is enough.

use crate::{
    app::App,
    operation::Access,
    problem::Problem,
    tokens::{Identity, Scope},
};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};
use unknot_engine::secrets::{hash, new_secret};

/// The cookie of a browser that came by the one-time link.
const COOKIE: &str = "unknot_session";
/// Sessions that are remembered; the oldest goes first.
const SESSIONS_MAX: usize = 100;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Over TCP.
    Network(SocketAddr),
    /// Over the socket in the data folder, from the user who runs the server.
    Local,
}

/// What a one-time link and its session may do.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The hash of the code of the link that was printed, until it is used.
    link: Option<String>,
    /// Hashes of the cookies given out, by age.
    cookies: BTreeMap<u64, String>,
    given: u64,
}

impl Sessions {
    /// A code for one login.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub(crate) fn new_link(&self) -> io::Result<String> {
        let code = new_secret()?;
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).link = Some(hash(&code));
        Ok(code)
    }

    /// A cookie for the code, once.
    pub(crate) fn log_in(&self, code: &str) -> Option<String> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.link.as_ref() != Some(&hash(code)) {
            return None;
        }
        let cookie = new_secret().ok()?;
        inner.link = None;
        inner.given += 1;
        let age = inner.given;
        inner.cookies.insert(age, hash(&cookie));
        if inner.cookies.len() > SESSIONS_MAX {
            inner.cookies.pop_first();
        }
        Some(format!("{COOKIE}={cookie}; HttpOnly; SameSite=Strict; Path=/"))
    }

    fn knows(&self, cookie: &str) -> bool {
        let wanted = hash(cookie);
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).cookies.values().any(|known| *known == wanted)
    }
}

/// Lets a request pass to its operation if whoever sends it may do that.
pub(crate) async fn check(
    State((app, access)): State<(Arc<App>, Access)>,
    mut request: Request,
    next: Next,
) -> Response {
    if access == Access::Attempt {
        let bearer = bearer(request.headers()).and_then(|token| app.engine.attempt_tokens().identify(token));
        let Some(right) = bearer else { return unknown_token().into_response() };
        request.extensions_mut().insert(right);
        return next.run(request).await;
    }
    let peer = request.extensions().get::<Peer>().copied();
    let identity = match identify(&app, peer, request.headers()) {
        Ok(identity) => identity,
        Err(problem) => return problem.into_response(),
    };
    match allowed(access, identity.as_ref(), peer) {
        Ok(()) => {}
        Err(problem) => return problem.into_response(),
    }
    let nobody = || Identity { name: "anonymous".to_owned(), scope: Scope::Read, is_local: false };
    request.extensions_mut().insert(identity.unwrap_or_else(nobody));
    next.run(request).await
}

/// Who it is; nobody is no error yet, a wrong token is.
fn identify(app: &App, peer: Option<Peer>, headers: &HeaderMap) -> Result<Option<Identity>, Problem> {
    if headers.contains_key(header::AUTHORIZATION) {
        let known = bearer(headers).and_then(|token| app.tokens.identify(token));
        return known.map(Some).ok_or_else(unknown_token);
    }
    let known = |name: &str, scope, is_local: bool| Some(Identity { name: name.to_owned(), scope, is_local });
    Ok(match peer {
        Some(Peer::Local) => known("local", Scope::Admin, true),
        Some(Peer::Network(from)) if app.insecure_loopback && is_loopback(from.ip()) => {
            known("loopback", Scope::Admin, false)
        }
        // A browser sends its cookies to every port of a host: whoever listens at another one has them too.
        _ if session(headers).is_some_and(|cookie| app.sessions.knows(&cookie)) => known("console", Scope::Read, false),
        _ => None,
    })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    text.strip_prefix("Bearer ").map(str::trim)
}

fn unknown_token() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "this token is not known here")
}

fn session(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value.to_owned())
}

fn allowed(access: Access, identity: Option<&Identity>, peer: Option<Peer>) -> Result<(), Problem> {
    let needed = match access {
        Access::Open => return Ok(()),
        Access::OpenOnLoopback => match peer {
            Some(Peer::Network(from)) if is_loopback(from.ip()) => return Ok(()),
            _ => Scope::Read,
        },
        Access::Scope(scope) => scope,
        // Dealt with before: no scope lets in where an attempt's own token is needed.
        Access::Attempt => Scope::Admin,
    };
    match identity {
        Some(identity) if identity.scope >= needed => Ok(()),
        Some(identity) => Err(Problem::forbidden(format!(
            "the token `{}` has the scope `{}`, this needs `{}`",
            identity.name,
            word(identity.scope),
            word(needed)
        ))),
        None => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "send `Authorization: Bearer TOKEN`; the first token is in `admin.token` in the data folder",
        )),
    }
}

pub(crate) fn word(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Submit => "submit",
        Scope::Operate => "operate",
        Scope::Admin => "admin",
    }
}

pub(crate) fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
    }
}
