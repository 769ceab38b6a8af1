//! Where a request goes, and where a redirect leads.

use std::fmt;
use std::net::Ipv6Addr;

use hyper::Uri;
use hyper::header::HeaderValue;
use rustls::pki_types::ServerName;

use super::failure::Failure;

/// The longest address that is taken, in bytes.
const URL_BYTES_MAX: usize = 16 * 1024;

/// Why no request can ever go to an address. The text itself is not repeated: it may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is longer than any that is taken.
    #[error("is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
    /// It is no address; says why.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It is for another protocol.
    #[error("has the scheme `{0}`, not `http` or `https`")]
    OtherScheme(String),
    /// It names no protocol.
    #[error("does not begin with `http://` or `https://`")]
    NoScheme,
    /// Nothing stands where the host does.
    #[error("names no host")]
    NoHost,
    /// What stands there can be no host.
    #[error("names a host that cannot be")]
    NotAHost,
    /// Somebody's name stands before the host.
    #[error("has a user or a password in it")]
    HasLogin,
    /// What stands behind the host is no port.
    #[error("has no valid port")]
    NotAPort,
}

impl AddressError {
    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::TooLong => "write a shorter one",
            Self::Unreadable(_) => {
                "write it as `https://HOST:PORT/PATH`: a space is `%20`, an IPv6 address stands in brackets"
            }
            Self::OtherScheme(_) | Self::NoScheme => "it has to begin with `http://` or `https://`",
            Self::NoHost => "write the host behind `//`",
            Self::NotAHost => "write a name as the DNS has it, an IPv4 address, or one of IPv6 in brackets: `[::1]`",
            Self::HasLogin => "leave them out: they are sent to nobody",
            Self::NotAPort => "a port is a number from 1 to 65535",
        }
    }
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        let instead = match error {
            AddressError::HasLogin => "; send an `authorization` header instead",
            _ => "",
        };
        Self::request(format!("the address {error}{instead}"))
    }
}

/// Whether a request may go to an address, as far as the address itself says that.
///
/// # Errors
/// If none ever can.
pub fn check_address(url: &str) -> Result<(), AddressError> {
    Target::parse(url).map(drop)
}

/// An address that can be asked. Printed, it shows no query: that may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) is_tls: bool,
    /// A name or an address, without the brackets of IPv6.
    pub(super) host: String,
    pub(super) port: u16,
    /// What the `Host` header says.
    pub(super) authority: String,
    /// Path and query, as they are sent.
    pub(super) path: String,
    /// Whether the path is not shown either.
    hides_path: bool,
}

impl Target {
    /// Reads an absolute address.
    ///
    /// # Errors
    ///
    /// If it is none of `http` or `https`, names no host, or has a user or password in it.
    pub(super) fn parse(url: &str) -> Result<Self, AddressError> {
        if url.len() > URL_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        let uri: Uri = url.parse().map_err(|error| AddressError::Unreadable(format!("{error}")))?;
        let is_tls = match uri.scheme_str() {
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
            Some(scheme) => return Err(AddressError::OtherScheme(scheme.to_owned())),
            None => return Err(AddressError::NoScheme),
        };
        let authority = uri.authority().ok_or(AddressError::NoHost)?;
        if authority.as_str().contains('@') {
            return Err(AddressError::HasLogin);
        }
        let host = host(authority.host(), is_tls)?;
        let port = match authority.as_str().strip_prefix(authority.host()).unwrap_or_default() {
            "" | ":" if is_tls => 443,
            "" | ":" => 80,
            given => given[1..].parse().ok().filter(|port| *port > 0).ok_or(AddressError::NotAPort)?,
        };
        let path = match uri.path_and_query().map_or("/", |path| path.as_str()) {
            "" => "/".to_owned(),
            query if query.starts_with('?') => format!("/{query}"),
            path => path.to_owned(),
        };
        Ok(Self { is_tls, host, port, authority: authority.as_str().to_owned(), path, hides_path: false })
    }

    /// The same, of which no more than scheme and host is printed.
    pub(super) fn with_secret_path(self) -> Self {
        Self { hides_path: true, ..self }
    }

    /// Where a `Location` that came from here leads.
    ///
    /// # Errors
    ///
    /// If that is nowhere we would go: another scheme, or from `https` to plain `http`.
    pub(super) fn redirected(&self, location: &HeaderValue) -> Result<Self, Failure> {
        let refused = |why: &str| Failure::redirect(format!("{self} redirects to an address that {why}"));
        let location = location.to_str().map_err(|_| refused("cannot be read"))?;
        let scheme = if self.is_tls { "https" } else { "http" };
        let here = self.path.split('?').next().unwrap_or("/");
        let same_host = |path: &str| format!("{scheme}://{}{path}", self.authority);
        let absolute = match location {
            _ if has_scheme(location) => location.to_owned(),
            _ if location.starts_with("//") => format!("{scheme}:{location}"),
            _ if location.starts_with('/') => same_host(location),
            _ if location.is_empty() || location.starts_with('#') => same_host(&self.path),
            _ if location.starts_with('?') => same_host(&format!("{here}{location}")),
            _ => same_host(&joined(here, location)),
        };
        let next = Self::parse(&absolute).map_err(|error| refused(&format!("is not followed: it {error}")))?;
        if self.is_tls && !next.is_tls {
            return Err(refused("is not followed: it would go on without TLS"));
        }
        Ok(next)
    }

    /// Whether both are the same server for whoever trusts it.
    pub(super) fn is_same_origin(&self, other: &Self) -> bool {
        self.is_tls == other.is_tls && self.host.eq_ignore_ascii_case(&other.host) && self.port == other.port
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        match self.path.split_once('?') {
            _ if self.hides_path => write!(out, "{scheme}://{}", self.authority),
            Some((path, _)) => write!(out, "{scheme}://{}{path}?…", self.authority),
            None => write!(out, "{scheme}://{}{}", self.authority, self.path),
        }
    }
}

/// The host that an address names, without the brackets of IPv6.
fn host(written: &str, is_tls: bool) -> Result<String, AddressError> {
    let host = written.trim_start_matches('[').trim_end_matches(']');
    let can_be = match written.starts_with('[') {
        true => host.parse::<Ipv6Addr>().is_ok(),
        // Over TLS it must be what a certificate can be for.
        false => !is_tls || ServerName::try_from(host).is_ok(),
    };
    match can_be {
        _ if host.is_empty() => Err(AddressError::NoHost),
        true => Ok(host.to_owned()),
        false => Err(AddressError::NotAHost),
    }
}

/// Whether a text begins like `word:`.
fn has_scheme(text: &str) -> bool {
    let word = text.split([':', '/', '?', '#']).next().unwrap_or_default();
    let is_word = word.starts_with(|first: char| first.is_ascii_alphabetic())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    is_word && text[word.len()..].starts_with(':')
}

/// A relative path from the place of another, without `.` and `..` (RFC 3986, 5.2).
fn joined(base: &str, relative: &str) -> String {
    let (path, rest) = relative.split_at(relative.find(['?', '#']).unwrap_or(relative.len()));
    let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut kept: Vec<&str> = folder.split('/').skip(1).collect();
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            ".." => drop(kept.pop()),
            "." => {}
            _ => kept.push(part),
        }
        if is_last && matches!(part, "." | "..") {
            kept.push("");
        }
    }
    format!("/{}{rest}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target::parse(url).unwrap()
    }

    #[test]
    fn an_address_is_taken_apart() {
        let found = target("http://[::1]:8001?q=secret");
        assert_eq!((found.host.as_str(), found.port, found.path.as_str()), ("::1", 8001, "/?q=secret"));
        assert_eq!(found.authority, "[::1]:8001");
        assert_eq!(found.to_string(), "http://[::1]:8001/?…");
        let found = target("HTTPS://Example.org/a/b#part");
        assert_eq!((found.is_tls, found.port, found.path.as_str()), (true, 443, "/a/b"));
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for (url, why) in [
            ("example.org/secret", "cannot be read"),
            ("/secret", "does not begin with"),
            ("file:///secret", "cannot be read"),
            ("ftp://host/secret", "has the scheme `ftp`"),
            ("http://user:secret@host/", "has a user or a password"),
            ("http://host/a secret", "cannot be read"),
            ("http://:80/secret", "names no host"),
            ("http://host:99999/secret", "valid port"),
            ("http://host:0/secret", "valid port"),
            ("http://[::1/secret", "cannot be read"),
            ("http://[secret]/", "a host that cannot be"),
            ("https://-secret-/", "a host that cannot be"),
            ("", "cannot be read"),
        ] {
            let error = check_address(url).unwrap_err();
            let failure = Failure::from(error.clone());
            assert!(failure.message.contains(why), "{url}: {failure:?}");
            assert!(!format!("{failure:?} {error:?} {}", error.help()).contains("secret"), "{failure:?}");
        }
        assert_eq!(check_address("https://hooks.example.org:8443/a_b?c=d"), Ok(()));
    }

    #[test]
    fn redirects_lead_where_the_standard_says() {
        let from = target("http://host:81/a/b/c?x=1");
        for (location, to) in [
            ("http://other/x", "http://other/x"),
            ("//other/x", "http://other/x"),
            ("/x?y", "http://host:81/x?y"),
            ("x", "http://host:81/a/b/x"),
            ("./x", "http://host:81/a/b/x"),
            ("../x/", "http://host:81/a/x/"),
            ("../../../x", "http://host:81/x"),
            ("..", "http://host:81/a/"),
            (".", "http://host:81/a/b/"),
            ("?z=2", "http://host:81/a/b/c?z=2"),
            ("#part", "http://host:81/a/b/c?x=1"),
            ("x?u=http://other/../", "http://host:81/a/b/x?u=http://other/../"),
        ] {
            assert_eq!(from.redirected(&HeaderValue::from_static(location)).unwrap(), target(to), "{location}");
        }
    }

    #[test]
    fn redirects_do_not_leave_http_or_its_protection() {
        for (from, location) in [
            ("http://host/", "file:///etc/passwd"),
            ("http://host/", "gopher://host/"),
            ("http://host/", "javascript:alert(1)"),
            ("http://host/", "http://user:word@host/"),
            ("https://host/", "http://host/"),
        ] {
            let failure = target(from).redirected(&HeaderValue::from_static(location)).unwrap_err();
            assert!(failure.message.contains("is not followed"), "{location}: {failure:?}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let here = target("http://host/a");
        assert!(here.is_same_origin(&target("http://HOST:80/b?c")));
        for other in ["https://host/a", "http://host:81/a", "http://other/a"] {
            assert!(!here.is_same_origin(&target(other)), "{other}");
        }
    }
}
