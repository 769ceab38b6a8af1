//! The `http` of a task: a request, and what of its answer counts.

use crate::time::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A request. Its texts are templates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Http {
    /// Its method.
    pub method: String,
    /// Where to, a template.
    pub url: String,
    /// Its headers; values are templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What is sent: each text in it is a template, keys are not. Text is sent as text, all else as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::present")]
    pub body: Option<serde_json::Value>,
    /// Its bounds and what counts.
    pub rules: HttpRules,
}

impl Http {
    /// Where it goes, without the path: `https://example.org`. None where that is a template, or has a password in it.
    pub fn server(&self) -> Option<&str> {
        let (scheme, rest) = self.url.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let is_plain =
            !authority.is_empty() && !self.url[..scheme.len()].contains('{') && !authority.contains(['{', '@']);
        is_plain.then(|| &self.url[..scheme.len() + "://".len() + authority.len()])
    }
}

/// The bounds of a request, and what of its answer counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRules {
    /// Until there is a connection.
    pub connect: Millis,
    /// From there until all headers of the answer are there.
    pub headers: Millis,
    /// From the headers to the first byte of the body.
    pub first_byte: Millis,
    /// From each part of the body to the next.
    pub gap: Millis,
    /// The longest body that is taken, in bytes.
    pub body_bytes_max: u64,
    /// How many redirects are followed.
    pub redirects_max: u32,
    /// The statuses that count as success, first and last of each range; none: 200 to 299.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<(u16, u16)>,
    /// Whether the output is always the described answer, never its body alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub describes: bool,
}
