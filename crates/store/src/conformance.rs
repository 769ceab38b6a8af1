//! One suite for every store: what [`Store`] promises, as cases that any implementation must pass.
//!
//! A test gives a [`Site`], a place where a store can be opened again and again, and calls [`run`].
//! Each case gets a fresh site. Faults are injected by wrapping whatever the site opens in a
//! [`FaultyStore`](crate::FaultyStore), so that each store is held to what follows an unknown outcome.

mod commits;
mod faults;
pub mod fixture;
mod lists;
mod loads;
mod reads;
mod upkeep;
mod verdicts;

use crate::Store;

/// A place where a store lives on while programs come and go.
pub trait Site {
    /// Opens the store that is there. What was opened before has been dropped, without a farewell, as
    /// if its process had been killed.
    fn open(&mut self) -> Box<dyn Store>;
}

/// One promise, and how it is tried.
pub struct Case {
    /// The promise, in words.
    pub name: &'static str,
    /// Panics if the store at the site breaks it.
    pub run: fn(&mut dyn Site),
}

/// Every case.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    [commits::CASES, loads::CASES, reads::CASES, lists::CASES, upkeep::CASES, verdicts::CASES, faults::CASES]
        .into_iter()
        .flatten()
}

/// Runs every case, each on a new site.
///
/// # Panics
/// At the first promise that is broken; its name stands in the captured output.
pub fn run<S: Site>(mut new_site: impl FnMut() -> S) {
    for case in cases() {
        println!("conformance: {}", case.name);
        (case.run)(&mut new_site());
    }
}
