//! How connections come in, over TCP and over sockets in the data folder.

use super::{ACCEPT_PAUSE, CONNECTIONS_MAX, FAREWELL, HEADERS_MAX, HEADERS_WITHIN};
use crate::{auth::Peer, seldom::Seldom};
use axum::{Router, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tower::ServiceExt as _;

/// The local socket, which shows up under its name only once nobody else may use it. The data folder is owned
/// by this process, so whatever stood there is stale.
pub(super) fn bind(data: &Path, name: &str) -> io::Result<UnixListener> {
    let folder = fs::File::open(data)?;
    // A socket's name may have 108 bytes, the folder's path may have more: through the descriptor it is short.
    let draft = format!("/proc/self/fd/{}/{name}.{}", std::os::fd::AsRawFd::as_raw_fd(&folder), std::process::id());
    fs::remove_file(&draft).unwrap_or_default();
    let listener = UnixListener::bind(&draft)?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))?;
    fs::rename(&draft, data.join(name))?;
    Ok(listener)
}

/// Lets connections in.
#[derive(Clone)]
pub(super) struct Entrance {
    router: Router,
    places: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
    told: Arc<Seldom>,
}

impl Entrance {
    pub(super) fn new(router: Router, stopping: watch::Receiver<bool>) -> Self {
        Self { router, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), stopping, told: Arc::default() }
    }

    pub(super) async fn network(self, listener: TcpListener) {
        while let Some(place) = self.place().await {
            match listener.accept().await {
                Ok((stream, from)) => {
                    // Small answers shall not wait for more to come; without it they are only slower.
                    stream.set_nodelay(true).unwrap_or_default();
                    self.serve(stream, Peer::Network(from), place);
                }
                Err(error) => {
                    self.told.say(|unsaid| log::warn!(cause:% = error, unsaid; "no connection can be accepted"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    pub(super) async fn local(self, listener: UnixListener) {
        let us = rustix::process::geteuid().as_raw();
        while let Some(place) = self.place().await {
            match listener.accept().await {
                Ok((stream, _)) => match stream.peer_cred() {
                    Ok(peer) if peer.uid() == us || peer.uid() == 0 => self.serve(stream, Peer::Local, place),
                    Ok(_) | Err(_) => {}
                },
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: Peer,
        place: OwnedSemaphorePermit,
    ) {
        let router = self.router.clone();
        let mut stopping = self.stopping.clone();
        let answer = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            router.clone().oneshot(request.map(axum::body::Body::new) as Request)
        });
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_WITHIN)
                .max_buf_size(HEADERS_MAX)
                .serve_connection(TokioIo::new(stream), answer);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                // A connection that breaks has nobody left to be told.
                ended = &mut connection => ended.unwrap_or_default(),
                _ = stopping.changed() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::time::timeout(FAREWELL, connection).await.unwrap_or(Ok(())).unwrap_or_default();
                }
            }
            drop(place);
        });
    }
}
