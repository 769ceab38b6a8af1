//! How a part of an expression is read: by the keys that it has, with errors that name them.

use super::{Expr, Mode, Part, Until};
use serde::{Deserialize, Deserializer, de::Error};

/// Every key that a part may have.
#[derive(Deserialize)]
#[serde(expecting = "a part of an expression, as `{resource, units}`")]
struct Raw {
    mode: Option<Mode>,
    k: Option<usize>,
    of: Option<Vec<Part>>,
    resource: Option<String>,
    units: Option<u64>,
    node: Option<String>,
    until: Option<Until>,
    consumable: Option<String>,
    #[serde(default)]
    timer: Present,
}

/// Whether a key is there, whatever its value.
#[derive(Default)]
struct Present(bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        let told = [
            raw.of.is_some() || raw.mode.is_some(),
            raw.resource.is_some(),
            raw.node.is_some(),
            raw.consumable.is_some(),
            raw.timer.0,
        ];
        if told.iter().filter(|is_told| **is_told).count() != 1 {
            let message =
                "a part of an expression has exactly one of `mode`, `resource`, `node`, `consumable` and `timer`";
            return Err(D::Error::custom(message));
        }
        match raw {
            Raw { resource: Some(resource), units: Some(units), .. } => Ok(Self::Resource { resource, units }),
            Raw { resource: Some(_), .. } => Err(D::Error::missing_field("units")),
            Raw { node: Some(node), until: Some(until), .. } => Ok(Self::Node { node, until }),
            Raw { node: Some(_), .. } => Err(D::Error::missing_field("until")),
            Raw { consumable: Some(consumable), .. } => Ok(Self::Consumable { consumable }),
            Raw { mode: None, of: Some(_), .. } => Err(D::Error::missing_field("mode")),
            Raw { mode: Some(_), of: None, .. } => Err(D::Error::missing_field("of")),
            Raw { mode: Some(Mode::K), k: None, .. } => Err(D::Error::missing_field("k")),
            Raw { mode: Some(mode), k, of: Some(of), .. } => Ok(Self::Expr(Expr { mode, k, of })),
            Raw { .. } => Ok(Self::Timer { timer: true }),
        }
    }
}
