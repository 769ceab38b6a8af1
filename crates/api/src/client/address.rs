//! Where a server is, and the way there.

use super::ClientError;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use rustix::{
    fd::{AsRawFd, OwnedFd},
    fs::{CWD, Mode, OFlags, openat},
};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    pin::Pin,
    str::FromStr,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// The port of an address that names none.
const PORT: u16 = 80;
/// A socket's path may have so many bytes; longer ones are reached through their folder.
const SOCKET_PATH_MAX: usize = 100;

/// Where a server is: `http://HOST:PORT`, or `unix:PATH` for the socket in its data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Over TCP.
    Network {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// Over a socket on this machine: no token is needed there.
    Local(PathBuf),
}

/// Text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no address of a server: {problem}")]
pub struct AddressError {
    text: String,
    problem: &'static str,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |problem| AddressError { text: text.chars().take(200).collect(), problem };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(wrong("no path follows `unix:`")) } else { Ok(Self::Local(path.into())) };
        }
        if text.starts_with("https:") {
            return Err(wrong("TLS is not spoken yet; name a proxy or tunnel that does, by `http://`"));
        }
        let expected = "expected `http://HOST:PORT` or `unix:PATH`";
        let authority = text.strip_prefix("http://").ok_or_else(|| wrong(expected))?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if authority.contains(['/', '?', '#', '@']) || authority.contains(|letter: char| !letter.is_ascii_graphic()) {
            return Err(wrong("behind the port nothing may follow"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong("the port is no number from 0 to 65535"))?)
            }
            _ => (authority, PORT),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bare.unwrap_or(host) {
            "" => Err(wrong("there is no host in it")),
            host if bare.is_none() && host.contains(':') => Err(wrong("an IPv6 address stands in brackets")),
            host => Ok(Self::Network { host: host.to_owned(), port }),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { .. } => write!(f, "http://{}", self.host()),
            Self::Local(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A way to send requests, and what carries them.
type Way = (SendRequest<Full<Bytes>>, Connection<TokioIo<Stream>, Full<Bytes>>);

impl Address {
    /// What the `Host` header says.
    pub(super) fn host(&self) -> String {
        match self {
            Self::Network { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Network { host, port } => format!("{host}:{port}"),
            Self::Local(_) => "localhost".to_owned(),
        }
    }

    pub(super) async fn connect(&self, within: Duration) -> Result<Way, ClientError> {
        let failed = |source| ClientError::Connect { address: self.clone(), source };
        let opened = match timeout(within, self.open()).await {
            Ok(opened) => opened.map_err(failed)?,
            Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
        };
        let shaken = http1::handshake(TokioIo::new(opened)).await;
        shaken.map_err(|source| ClientError::Broken { source: source.into() })
    }

    async fn open(&self) -> io::Result<Stream> {
        match self {
            Self::Network { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Network(stream))
            }
            Self::Local(path) if path.as_os_str().len() <= SOCKET_PATH_MAX => {
                UnixStream::connect(path).await.map(Stream::Local)
            }
            Self::Local(path) => {
                let (folder, short) = through_folder(path)?;
                let stream = UnixStream::connect(short).await;
                drop(folder);
                stream.map(Stream::Local)
            }
        }
    }
}

/// A long path by the folder's descriptor, which must stay open for it.
fn through_folder(path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(CWD, folder, flags, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    Ok((folder, short))
}

/// A connection of either kind.
pub(super) enum Stream {
    Network(TcpStream),
    Local(UnixStream),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Local(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Local(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(stream).poll_flush(cx),
            Self::Local(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Local(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_printed() {
        for text in ["http://127.0.0.1:8001", "http://[::1]:80", "http://brain.example:1", "unix:/srv/x/api.sock"] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), text);
        }
        for (text, same) in [("http://a/", "http://a:80"), ("unix:///x", "unix:/x")] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), same);
        }
        for text in [
            "",
            "127.0.0.1:8001",
            "http://",
            "http://a:x",
            "http://a/b",
            "http://::1",
            "https://a",
            "unix:",
            "http://a b",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
