//! Sockets, connections, and their end.

mod door;
mod entrance;

pub use door::Door;

use crate::{
    app::{App, Changeable, Options},
    auth::{Sessions, is_loopback},
    operation::Operation,
    problem::Problem,
    rim, routes,
    tally::Counting,
    tokens::{ADMIN_TOKEN, TokenError, Tokens},
};
use axum::{Router, http::StatusCode, middleware};
use entrance::{Entrance, bind};
use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::watch,
};
use unknot_engine::Engine;

/// The local socket's name in the data folder.
const SOCKET: &str = "api.sock";
/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 4_096;
/// How long a client may take to send its headers, which is also how long an idle connection is kept.
const HEADERS_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of a request's headers.
const HEADERS_MAX: usize = 64 * 1024;
/// Pause after a failed accept, which mostly means that there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Threads of the API's runtime.
const THREADS: usize = 2;
/// How long connections may take to end, once the server does.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody could do everything without a token.
    #[error("`--insecure-loopback` would let everybody in at `{0}`; it is for loopback addresses only")]
    Insecure(SocketAddr),
    /// The address cannot be listened at.
    #[error("cannot listen at `{address}`")]
    Address {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The local socket cannot be made.
    #[error("cannot make the socket `{}`", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The system refuses a thread or chance.
    #[error("cannot start the server's threads")]
    System(#[source] io::Error),
}

/// A server that listens. Dropping it ends it.
pub struct Server {
    address: SocketAddr,
    login: Option<String>,
    is_first_start: bool,
    socket: PathBuf,
    stop: watch::Sender<bool>,
    app: Arc<App>,
    counting: Option<Counting>,
    runtime: Option<Runtime>,
}

impl Server {
    /// Listens, and answers from now on.
    ///
    /// # Errors
    /// If it would let everybody in, or the address, the socket or the tokens cannot be used.
    pub fn start(engine: Arc<Engine>, options: Options) -> Result<Self, StartError> {
        if options.insecure_loopback && !is_loopback(options.listen.ip()) {
            return Err(StartError::Insecure(options.listen));
        }
        let data = engine.data().to_path_buf();
        let (tokens, is_first_start) = Tokens::open(&data)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("unknot-api")
            .enable_all()
            .build()
            .map_err(StartError::System)?;
        let _inside = runtime.enter();
        let wanted = options.listen;
        let failed = |source| StartError::Address { address: wanted, source };
        let tcp = runtime.block_on(TcpListener::bind(wanted)).map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        let socket = data.join(SOCKET);
        let local = bind(&data, SOCKET).map_err(|source| StartError::Socket { path: socket.clone(), source })?;
        let sessions = Sessions::default();
        let login = match options.insecure_loopback {
            true => None,
            false => Some(sessions.new_link().map_err(StartError::System)?),
        };
        let counting = Counting::start(&engine).map_err(StartError::System)?;
        let (stop, stopping) = watch::channel(false);
        let app = App::new(engine, tokens, sessions, counting.tally(), options, stopping.clone());
        let app = Arc::new(app);
        let entrance = Entrance::new(router(&app, routes::all()), stopping);
        runtime.spawn(entrance.clone().network(tcp));
        runtime.spawn(entrance.local(local));
        drop(_inside);
        log::info!(address:% = address; "listening");
        Ok(Self { address, login, is_first_start, socket, stop, app, counting: Some(counting), runtime: Some(runtime) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A link that lets one browser in, once; none where no token is needed.
    pub fn login_link(&self) -> Option<String> {
        self.login.as_ref().map(|code| format!("http://{}/login?code={code}", self.address))
    }

    /// Whether the first token was made just now.
    pub fn is_first_start(&self) -> bool {
        self.is_first_start
    }

    /// The file that holds the first token, in a data folder.
    pub fn admin_token_file(data: &Path) -> PathBuf {
        data.join(ADMIN_TOKEN)
    }

    /// From now on this holds, for requests to come; those under way end as they began.
    pub fn change(&self, changeable: Changeable) {
        self.app.change(changeable);
    }

    /// The socket of the server that owns a data folder, if one does.
    pub fn socket(data: &Path) -> PathBuf {
        data.join(SOCKET)
    }

    /// Accepts nothing more, and ends what is open within two seconds.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        fs::remove_file(&self.socket).unwrap_or_default();
        drop(self.counting.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(FAREWELL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// What is answered, and by whom every request is looked at first.
fn router(app: &Arc<App>, operations: Vec<Operation>) -> Router {
    let nothing = || async { Problem::not_found("there is nothing at this path; `/docs` lists what there is") };
    let other = || async { Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path has other methods, see `/docs`") };
    crate::operation::router(operations, app)
        .fallback(nothing)
        .method_not_allowed_fallback(other)
        .layer(middleware::from_fn_with_state(Arc::clone(app), rim::check))
        .with_state(Arc::clone(app))
}
