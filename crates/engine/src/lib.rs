//! The engine: the brain, its store and its hands, put together and kept going.
pub mod convert;
pub mod driver;
