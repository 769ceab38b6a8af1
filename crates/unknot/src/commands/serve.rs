//! `unknot serve`: the engine for everybody who may ask, until it is told to end.

use crate::{
    args::Serve,
    config::{Config, nicer},
    error::Error,
    exit::Exit,
};
use signal_hook::{consts::signal, iterator::Signals};
use std::{
    io::Write,
    net::SocketAddr,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};
use unknot_engine::{
    Engine, Options,
    control::Control,
    store::{Namespace, Retention, SqliteOptions, SqliteStore},
};
use unknot_hands::GuardCommand;
use unknot_server::{Options as ServerOptions, Rate, Server, StartError};

/// Pause between two looks at an engine that is about to end, or may have stopped by itself.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long what runs may go on after the first TERM, before it is stopped by its ladder.
const DRAIN_WITHIN: Duration = Duration::from_secs(30);

/// Serves.
pub(crate) fn perform(serve: &Serve, out: &mut dyn Write) -> Result<Exit, Error> {
    let config = Config::here(&serve.place)?;
    let told = listen_for_signals()?;
    let shown = nicer(&config.data).display().to_string();
    let store = SqliteStore::open(&config.data, &SqliteOptions::default());
    let store = store.map_err(Error::store(format!("use the data folder `{shown}`")))?;
    let engine = Arc::new(Engine::start(Box::new(store), options(&config)).map_err(Error::start)?);
    let control = Control::start(&engine);
    let server = Server::start(Arc::clone(&engine), server_options(&config, serve)).map_err(failed)?;
    say_where(&server, &config, out)?;
    let ended = until_told(&engine, &told, out);
    server.stop();
    drop(control);
    match (Arc::into_inner(engine), &ended) {
        (Some(engine), Ok(Exit::Killed)) => engine.kill(),
        (Some(engine), _) => engine.stop(),
        // Somebody still waits for an answer of it: the end of the process ends everything, since the guard
        // outlives no worker.
        (None, _) => {}
    }
    ended
}

fn failed(error: StartError) -> Error {
    Error::Start { attempt: "start the server", source: error.into() }
}

fn options(config: &Config) -> Options {
    Options {
        data: config.data.clone(),
        namespace: Namespace::default(),
        slots: config.slots,
        settings: config.settings.clone(),
        guard: GuardCommand::this_program(vec![crate::GUARD_WORD.into()]),
        retention: Retention::default(),
        focus: None,
    }
}

fn server_options(config: &Config, serve: &Serve) -> ServerOptions {
    ServerOptions {
        listen: serve.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8001))),
        hosts: Vec::new(),
        insecure_loopback: serve.insecure_loopback,
        rules: config.rules(),
        rate: Rate::default(),
    }
}

/// What to do next, in a few lines.
fn say_where(server: &Server, config: &Config, out: &mut dyn Write) -> Result<(), Error> {
    let address = server.address();
    writeln!(out, "data    {} (owned by this process)", nicer(&config.data).display())?;
    writeln!(out, "listen  http://{address}   docs at http://{address}/docs")?;
    match server.login_link() {
        Some(link) => {
            writeln!(out, "token   {}", nicer(&Server::admin_token_file(&config.data)).display())?;
            writeln!(out, "link    {link}   (lets one browser in, once)")?;
        }
        None => writeln!(out, "token   none is needed on this machine (--insecure-loopback)")?,
    }
    out.flush()?;
    Ok(())
}

/// What somebody outside wants of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    End,
    Reload,
}

fn listen_for_signals() -> Result<Receiver<Wish>, Error> {
    let refused = |source: std::io::Error| Error::Start { attempt: "listen for signals", source: source.into() };
    let mut signals = Signals::new([signal::SIGINT, signal::SIGTERM, signal::SIGHUP]).map_err(refused)?;
    // More than a few can only be impatience: what does not fit says nothing new.
    let (sender, receiver) = sync_channel(8);
    let forward = move || {
        for number in signals.forever() {
            let wish = if number == signal::SIGHUP { Wish::Reload } else { Wish::End };
            sender.try_send(wish).unwrap_or_default();
        }
    };
    thread::Builder::new().name("unknot-signals".to_owned()).spawn(forward).map_err(refused)?;
    Ok(receiver)
}

/// Waits until the process is to end, and then for what runs, within a bound. A second wish ends it at once.
fn until_told(engine: &Engine, told: &Receiver<Wish>, out: &mut dyn Write) -> Result<Exit, Error> {
    loop {
        match told.recv_timeout(LOOK_EVERY) {
            Ok(Wish::End) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(Wish::Reload) | Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(cause) = engine.health().fatal {
            return Err(Error::EngineStopped { cause });
        }
    }
    writeln!(out, "ending  nothing new starts; what runs has {} s, again to end it now", DRAIN_WITHIN.as_secs())?;
    out.flush()?;
    engine.drain();
    let until = Instant::now() + DRAIN_WITHIN;
    while Instant::now() < until && engine.is_working() {
        if told.recv_timeout(LOOK_EVERY) == Ok(Wish::End) {
            return Ok(Exit::Killed);
        }
    }
    Ok(Exit::Success)
}
