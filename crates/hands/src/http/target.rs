//! Where a request goes, and where a redirect leads.

use std::fmt;

use hyper::Uri;
use hyper::header::HeaderValue;

use super::failure::Failure;

/// The longest address that is taken, in bytes.
const URL_BYTES_MAX: usize = 16 * 1024;

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
    /// If it is none of `http` or `https`, names no host, or has a user or password in it. The text itself is not in
    /// the message: it may hold a secret.
    pub(super) fn parse(url: &str) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::request(format!("the address {what}"));
        if url.len() > URL_BYTES_MAX {
            return Err(wrong(&format!("is longer than {URL_BYTES_MAX} bytes")));
        }
        let uri: Uri = url.parse().map_err(|error| wrong(&format!("cannot be read: {error}")))?;
        let is_tls = match uri.scheme_str() {
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
            Some(scheme) => return Err(wrong(&format!("has the scheme `{scheme}`, not `http` or `https`"))),
            None => return Err(wrong("does not begin with `http://` or `https://`")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("has a user or a password in it; send an `authorization` header instead"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong("names no host"));
        }
        let port = match authority.as_str().strip_prefix(authority.host()).unwrap_or_default() {
            "" | ":" => {
                if is_tls {
                    443
                } else {
                    80
                }
            }
            given => given[1..].parse().map_err(|_| wrong("has no valid port"))?,
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
        let next =
            Self::parse(&absolute).map_err(|failure| refused(&format!("is not followed: {}", failure.message)))?;
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
            ("", "cannot be read"),
        ] {
            let failure = Target::parse(url).unwrap_err();
            assert!(failure.message.contains(why), "{url}: {failure:?}");
            assert!(!failure.message.contains("secret"), "{failure:?}");
        }
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
