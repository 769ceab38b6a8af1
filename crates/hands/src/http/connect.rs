//! From a name to a connection: its addresses, TCP, TLS, all under one clock.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Duration, Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::failure::{Failure, within};
use super::target::Target;
use super::trace::{self, Trace};
use unknot_api::with_causes;

/// How many addresses of one name are tried.
const ADDRESSES_MAX: usize = 8;
/// How many names are looked up at once. The system's resolver cannot be interrupted: where no name server answers,
/// so many threads may hang in it, and no more.
static LOOKUPS: Semaphore = Semaphore::const_new(16);
/// What authenticates servers, read when it is first needed.
static TLS: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();

/// A connection, with or without TLS.
pub(super) type Stream = Box<dyn Duplex>;

/// What bytes go through in both directions.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Connects to a server, within its clock.
pub(super) async fn connect(target: &Target, limit_ms: u64, trace: &mut Trace) -> Result<Stream, Failure> {
    let late = || Failure::connect(format!("no connection to {target} within {}", trace::length(limit_ms)));
    let deadline = Instant::now() + Duration::from_millis(limit_ms).min(super::FAR);
    within(limit_ms, reach(target, deadline, trace), late).await
}

async fn reach(target: &Target, deadline: Instant, trace: &mut Trace) -> Result<Stream, Failure> {
    trace.enter("name");
    let addresses = addresses(target, lookup).await?;
    trace.enter("tcp");
    let tcp = dial(target, &addresses, deadline).await?;
    if !target.is_tls {
        return Ok(Box::new(tcp));
    }
    trace.enter("tls");
    let config = TLS.get_or_try_init(system_roots).await?;
    secure(target, tcp, config.clone()).await
}

fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.take(ADDRESSES_MAX).collect())
}

/// The addresses of a server, at least one.
async fn addresses(
    target: &Target,
    lookup: impl FnOnce(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> Result<Vec<SocketAddr>, Failure> {
    let (host, port) = (target.host.clone(), target.port);
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let failed = |why: String| Failure::connect(format!("cannot find `{}`: {why}", target.host));
    // It is never closed.
    let permit = LOOKUPS.acquire().await.map_err(|error| failed(error.to_string()))?;
    let found = spawn_blocking(move || {
        // Held by the thread, not by whoever waits for it: that one may be gone long before.
        let _permit = permit;
        lookup(&host, port)
    });
    match found.await {
        Ok(Ok(addresses)) if addresses.is_empty() => Err(failed("it has no address".to_owned())),
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Tries one address after another, each with its share of the time: one that never answers must not use up all.
async fn dial(target: &Target, addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Failure> {
    let mut reason = String::new();
    for (place, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let left = u32::try_from(addresses.len() - place).unwrap_or(u32::MAX);
        let share = now + deadline.saturating_duration_since(now) / left;
        reason = match timeout_at(share, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                // Only latency is lost where this does not work.
                tcp.set_nodelay(true).unwrap_or_default();
                return Ok(tcp);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_owned(),
        };
    }
    let address = addresses.last().map(ToString::to_string).unwrap_or_default();
    Err(Failure::connect(format!("no connection to {target} ({address}): {reason}")))
}

/// Agrees on TLS; the server has to be who it says.
async fn secure(target: &Target, tcp: TcpStream, config: Arc<ClientConfig>) -> Result<Stream, Failure> {
    let failed = |why: String| Failure::connect(format!("no TLS with {target}: {why}"));
    let name = ServerName::try_from(target.host.clone()).map_err(|error| failed(error.to_string()).for_good())?;
    match TlsConnector::from(config).connect(name, tcp).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) if is_lasting(&error) => Err(failed(error.to_string()).for_good()),
        Err(error) => Err(failed(with_causes(&error))),
    }
}

/// Whether a server's certificate would be as wrong the next time.
fn is_lasting(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidCertificate(reason)) if *reason != CertificateError::UnknownRevocationStatus)
}

/// The authorities that this machine trusts, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
async fn system_roots() -> Result<Arc<ClientConfig>, Failure> {
    let failed = |why: String| Failure::connect(format!("TLS cannot be used: {why}"));
    let loaded = spawn_blocking(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (taken, _) = roots.add_parsable_certificates(found.certs);
        let why = found.errors.first().map_or_else(|| "it has none".to_owned(), ToString::to_string);
        (taken, roots, why)
    });
    match loaded.await.map_err(|error| failed(error.to_string()))? {
        (0, _, why) => Err(failed(format!("no certificates of authorities on this machine: {why}"))),
        (_, roots, _) => trusting(roots).map_err(|error| failed(error.to_string())),
    }
}

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use rustls::ServerConfig;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use unknot_api::work::NextTry;

    use super::*;

    /// A self-signed certificate for `localhost` and `127.0.0.1`, good for a century and for nothing but this.
    const CERTIFICATE: &[u8] = include_bytes!("../../tests/data/localhost.pem");
    const KEY: &[u8] = include_bytes!("../../tests/data/localhost.key.pem");

    fn certificate() -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(CERTIFICATE).unwrap()
    }

    /// A server that says a word to each client that agrees on TLS; its port.
    async fn tls_server() -> u16 {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
        let config = builder.with_no_client_auth().with_single_cert(vec![certificate()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((tcp, _)) = listener.accept().await {
                // A client that does not trust us goes away.
                let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
                stream.write_all(b"hello").await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        port
    }

    async fn dialled(host: &str, port: u16) -> (Target, TcpStream) {
        let target = Target::parse(&format!("https://{host}:{port}/")).unwrap();
        (target, TcpStream::connect(("127.0.0.1", port)).await.unwrap())
    }

    #[tokio::test]
    async fn a_server_has_to_be_trusted_and_to_be_who_it_says() {
        let port = tls_server().await;
        let mut roots = RootCertStore::empty();
        roots.add(certificate()).unwrap();
        let trusts_it = trusting(roots).unwrap();
        for host in ["localhost", "127.0.0.1"] {
            let (target, tcp) = dialled(host, port).await;
            let mut stream = secure(&target, tcp, trusts_it.clone()).await.unwrap();
            let mut said = String::new();
            stream.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, "hello");
        }
        let trusts_nobody = trusting(RootCertStore::empty()).unwrap();
        for (host, config) in [("other.invalid", trusts_it), ("localhost", trusts_nobody)] {
            let (target, tcp) = dialled(host, port).await;
            let Err(failure) = secure(&target, tcp, config).await else { panic!("{host} is trusted") };
            assert!(failure.message.contains("certificate"), "{failure:?}");
            assert_eq!(failure.next_try, NextTry::Useless, "the next try would meet the same certificate");
        }
    }

    #[tokio::test]
    async fn a_resolver_that_hangs_costs_a_bounded_number_of_threads_and_no_request_more_than_its_clock() {
        let target = Target::parse("http://somewhere/").unwrap();
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(std::sync::Mutex::new(released));
        let late = || Failure::connect("late".to_owned());
        for _ in 0..20 {
            let released = released.clone();
            let hanging = addresses(&target, move |_, _| {
                // Ends when the test lets go.
                released.lock().unwrap().recv().unwrap_err();
                Ok(Vec::new())
            });
            assert_eq!(within(20, hanging, late).await.unwrap_err(), late());
        }
        assert_eq!(LOOKUPS.available_permits(), 0, "16 hang in there, and the last 4 were not let in");
        drop(release);
        let found = addresses(&target, |_, port| Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])).await;
        assert_eq!(found.unwrap(), [SocketAddr::from(([127, 0, 0, 1], 80))]);
    }

    /// A port of loopback that answers no attempt to connect: its queue is full, and nobody accepts.
    async fn unanswering() -> (std::os::fd::OwnedFd, TcpStream, SocketAddr) {
        use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&listener, 0).unwrap();
        let address = SocketAddr::try_from(getsockname(&listener).unwrap()).unwrap();
        let filling = TcpStream::connect(address).await.unwrap();
        (listener, filling, address)
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next() {
        let (_listener, _filling, silent) = unanswering().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let target = Target::parse("http://somewhere/").unwrap();
        let began = Instant::now();
        dial(&target, &[silent, good], began + Duration::from_millis(600)).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(300), "the first one did not answer");
        let late = Instant::now() + Duration::from_millis(50);
        let failure = dial(&target, &[silent], late).await.unwrap_err();
        assert!(failure.message.ends_with("it does not answer"), "{failure:?}");
        let target = Target::parse(&format!("http://{silent}/")).unwrap();
        let Err(failure) = connect(&target, 50, &mut Trace::default()).await else { panic!("it answers") };
        assert!(failure.message.starts_with("no connection to http://127.0.0.1"), "{failure:?}");
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_followed_by_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let refusing = {
            let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
            other.local_addr().unwrap()
        };
        let target = Target::parse("http://somewhere/").unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        dial(&target, &[refusing, good], deadline).await.unwrap();
        let failure = dial(&target, &[refusing], deadline).await.unwrap_err();
        assert!(failure.message.contains("refused"), "{failure:?}");
    }
}
