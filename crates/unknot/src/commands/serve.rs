//! `unknot serve`: the engine for everybody who may ask, until it is told to end.

mod reload;

use crate::{
    args::Serve,
    config::{Config, nicer},
    error::{Error, with_causes},
    exit::Exit,
    logging::Journal,
};
use signal_hook::{consts::signal, iterator::Signals};
use std::{
    io::Write,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};
use unknot_api::client::Address;
use unknot_engine::{
    Engine, Options,
    control::Control,
    core::Millis,
    store::{Namespace, SqliteOptions, SqliteStore},
};
use unknot_hands::GuardCommand;
use unknot_server::{Options as ServerOptions, Server, StartError};

/// Pause between two looks at an engine that is about to end, or may have stopped by itself.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Serves.
pub(crate) fn perform(serve: &Serve, out: &mut dyn Write) -> Result<Exit, Error> {
    let config = Config::of_server(&serve.place, serve.listen)?;
    config.insist_on_targets()?;
    let refused = |source: std::io::Error| Error::Start { attempt: "start the log", source: source.into() };
    let journal = Journal::start(config.logging.clone()).map_err(refused)?;
    let ended = serve_until_told(serve, config, &journal, out);
    match &ended {
        Ok(_) => log::info!("ended"),
        Err(error) => log::error!(cause = with_causes(error).as_str(); "ended"),
    }
    journal.finish();
    ended
}

fn serve_until_told(serve: &Serve, config: Config, journal: &Journal, out: &mut dyn Write) -> Result<Exit, Error> {
    let told = listen_for_signals()?;
    let shown = nicer(&config.data).display().to_string();
    let file = config.file.as_deref().map_or_else(|| "none".to_owned(), |file| nicer(file).display().to_string());
    log::info!(version = env!("CARGO_PKG_VERSION"), config = file, data = shown.as_str(), slots = config.slots; "starting");
    reload::warn_at_start(&config);
    let store = SqliteStore::open(&config.data, &SqliteOptions::default());
    let store = store.map_err(Error::store_in(&config.data, format!("use the data folder `{shown}`")))?;
    let engine = Arc::new(Engine::start(Box::new(store), options(&config)).map_err(Error::start)?);
    if engine.reconciled() > 0 {
        log::warn!(attempts = engine.reconciled(); "attempts of an earlier process were found unfinished and ended");
    }
    let control = Control::start(&engine, super::looks);
    let server = Server::start(Arc::clone(&engine), server_options(&config, serve)).map_err(failed)?;
    say_where(&server, &config, out)?;
    log::info!("ready");
    let ended = until_told(Serving { serve, config, engine: &engine, server: &server, journal }, &told, out);
    log::info!("no more requests are taken");
    server.stop();
    drop(control);
    log::info!(how = if matches!(ended, Ok(Exit::Killed)) { "at once" } else { "by its ladder" }; "stopping what runs");
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
    Error::Start { attempt: crate::error::SERVER, source: error.into() }
}

fn options(config: &Config) -> Options {
    Options {
        data: config.data.clone(),
        namespace: Namespace::default(),
        slots: config.slots,
        settings: config.settings.clone(),
        guard: GuardCommand::this_program(vec![crate::GUARD_WORD.into()]),
        retention: config.retention,
        alerts: config.alerts.clone(),
        focus: None,
        door: Some(Address::Local(Server::socket(&config.data)).to_string()),
    }
}

fn server_options(config: &Config, serve: &Serve) -> ServerOptions {
    ServerOptions {
        listen: config.listen,
        insecure_loopback: serve.insecure_loopback,
        session_term: config.session_term,
        changeable: config.changeable(),
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
pub(super) enum Wish {
    End,
    Reload,
}

pub(super) fn listen_for_signals() -> Result<Receiver<Wish>, Error> {
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

/// A server at work.
struct Serving<'s> {
    serve: &'s Serve,
    config: Config,
    engine: &'s Engine,
    server: &'s Server,
    journal: &'s Journal,
}

/// Waits until the process is to end, and then for what runs, within a bound. A second wish ends it at once.
fn until_told(mut serving: Serving<'_>, told: &Receiver<Wish>, out: &mut dyn Write) -> Result<Exit, Error> {
    let engine = serving.engine;
    loop {
        match told.recv_timeout(LOOK_EVERY) {
            Ok(Wish::End) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(Wish::Reload) => {
                reload::reload(&mut serving.config, serving.serve, engine, serving.server, serving.journal);
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(cause) = engine.health().fatal {
            return Err(Error::EngineStopped { cause });
        }
    }
    let drain = serving.config.drain;
    log::info!(within_ms = drain.as_millis() as u64; "asked to end: nothing new starts");
    let within = crate::time::length(Millis(drain.as_millis() as u64));
    writeln!(out, "ending  nothing new starts; what runs has {within}, again to end it now")?;
    out.flush()?;
    engine.drain();
    let until = Instant::now() + drain;
    while Instant::now() < until && engine.is_working() {
        if told.recv_timeout(LOOK_EVERY) == Ok(Wish::End) {
            log::warn!("asked to end again");
            return Ok(Exit::Killed);
        }
    }
    Ok(Exit::Success)
}
