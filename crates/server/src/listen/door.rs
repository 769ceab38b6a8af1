//! The door of running attempts alone: what `unknot run` opens, where no server is.

use super::{FAREWELL, StartError, entrance::Entrance, entrance::bind, router};
use crate::{
    app::{App, Changeable, Options},
    auth::Sessions,
    operation::Access,
    routes,
    tokens::Tokens,
};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
};
use unknot_engine::Engine;

/// The socket's name in the data folder. Another one than a server's, so that nobody takes this for a server.
const SOCKET: &str = "door.sock";

/// A socket in the data folder at which running attempts ask, each under its own token, and nobody else does. Dropping it
/// closes it; whoever waits is told so, and asks again, if there is anybody to ask.
pub struct Door {
    socket: PathBuf,
    stop: watch::Sender<bool>,
    runtime: Option<Runtime>,
}

impl Door {
    /// Opens it.
    ///
    /// # Errors
    /// If the socket cannot be made, or the system refuses a thread.
    pub fn open(engine: Arc<Engine>, changeable: Changeable) -> Result<Self, StartError> {
        let data = engine.data().to_path_buf();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("unknot-door")
            .enable_all()
            .build()
            .map_err(StartError::System)?;
        let inside = runtime.enter();
        let socket = Self::socket(&data);
        let listener = bind(&data, SOCKET).map_err(|source| StartError::Socket { path: socket.clone(), source })?;
        let (stop, stopping) = watch::channel(false);
        // Nobody comes by an address, and nobody has another token than an attempt's.
        let options = Options {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            insecure_loopback: false,
            session_term: Duration::ZERO,
            changeable,
        };
        let (tokens, sessions) = (Tokens::nobodys(&data), Sessions::default());
        let app = Arc::new(App::new(engine, tokens, sessions, Arc::default(), options, stopping.clone()));
        let of_attempts = routes::all().into_iter().filter(|operation| operation.access == Access::Attempt);
        let entrance = Entrance::new(router(&app, of_attempts.collect()), stopping);
        runtime.spawn(entrance.local(listener));
        drop(inside);
        Ok(Self { socket, stop, runtime: Some(runtime) })
    }

    /// Where it is, in a data folder.
    pub fn socket(data: &Path) -> PathBuf {
        data.join(SOCKET)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        fs::remove_file(&self.socket).unwrap_or_default();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(FAREWELL);
        }
    }
}
