//! What of an attempt did not come to the server, and why.

use std::collections::VecDeque;

use unknot_api::work::Note;
use unknot_api::worker::ARTIFACTS_MAX;

use crate::artifacts::{Artifact, Listing};
use crate::log::LOG_FILE;

/// Paths that a note names.
const NAMED_MAX: usize = 5;

/// What is missing until it has arrived.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// Why the log is not whole over there; empty while nothing is known.
    log: Option<String>,
    /// `None` until the folder has been looked at.
    waiting: Option<VecDeque<Artifact>>,
    /// What will not arrive, and why.
    lost: Vec<(String, String)>,
    /// What went wrong last, of what may pass.
    trouble: Option<String>,
}

impl Missing {
    /// Nothing has arrived yet.
    pub(super) fn all() -> Self {
        Self { log: Some(String::new()), ..Self::default() }
    }

    pub(super) fn found(&mut self, listing: Listing) {
        self.waiting = Some(listing.files.into());
        let odd = "only regular files are kept, and folders down to a bound";
        self.lost.extend(listing.passed_over.into_iter().map(|path| (path, odd.to_owned())));
        if listing.is_cut {
            self.lost.push(("…".to_owned(), format!("an attempt has at most {ARTIFACTS_MAX} artifacts")));
        }
    }

    pub(super) fn log_is_whole(&mut self) {
        (self.log, self.trouble) = (None, None);
    }

    pub(super) fn log_is_refused(&mut self, why: String) {
        (self.log, self.trouble) = (Some(why), None);
    }

    /// The next artifact to be sent.
    pub(super) fn next(&self) -> Option<&Artifact> {
        self.waiting.as_ref()?.front()
    }

    pub(super) fn arrived(&mut self) {
        self.trouble = None;
        self.waiting.as_mut().and_then(VecDeque::pop_front);
    }

    pub(super) fn refused(&mut self, why: String) {
        if let Some(artifact) = self.waiting.as_mut().and_then(VecDeque::pop_front) {
            self.lost.push((artifact.path, why));
        }
    }

    /// It is tried again.
    pub(super) fn trouble(&mut self, why: String) {
        self.trouble = Some(why);
    }

    /// There is no time for the rest.
    pub(super) fn no_time(&mut self, why: &str) {
        let trouble = self.trouble.take().map(|trouble| format!(": {trouble}"));
        self.nothing_more(format!("{why}{}", trouble.unwrap_or_default()));
    }

    /// The rest will not arrive.
    pub(super) fn nothing_more(&mut self, why: String) {
        let waiting = self.waiting.get_or_insert_default();
        self.lost.splice(0..0, waiting.drain(..).map(|artifact| (artifact.path, why.clone())));
        if let Some(known) = self.log.as_mut().filter(|known| known.is_empty()) {
            *known = why;
        }
    }

    pub(super) fn into_notes(self) -> Vec<Note> {
        let log = self.log.map(|why| Note::LogFailed { message: format!("`{LOG_FILE}` may be cut short here: {why}") });
        let why = self.lost.first().map(|(_, why)| why.clone());
        let count = u32::try_from(self.lost.len()).unwrap_or(u32::MAX);
        let first = self.lost.into_iter().take(NAMED_MAX).map(|(path, _)| path).collect();
        let artifacts = why.map(|message| Note::ArtifactsLost { count, first, message });
        log.into_iter().chain(artifacts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(paths: &[&str]) -> Listing {
        let artifact = |path: &&str| Artifact { path: (*path).to_owned(), bytes: 1 };
        Listing { files: paths.iter().map(artifact).collect(), ..Listing::default() }
    }

    #[test]
    fn what_has_arrived_is_not_missing() {
        let mut missing = Missing::all();
        missing.found(listing(&["a"]));
        missing.log_is_whole();
        missing.arrived();
        assert_eq!(missing.next(), None);
        assert_eq!(missing.into_notes(), []);
    }

    #[test]
    fn what_has_not_arrived_is_named_with_its_reason() {
        let mut missing = Missing::all();
        missing.found(Listing { passed_over: vec!["pipe".to_owned()], ..listing(&["a", "b", "c"]) });
        missing.trouble("connection refused".to_owned());
        missing.log_is_whole();
        missing.arrived();
        missing.refused("too large".to_owned());
        missing.trouble("connection refused".to_owned());
        missing.no_time("its lease ran out");
        let message = "its lease ran out: connection refused".to_owned();
        let first = ["c", "pipe", "b"].map(str::to_owned).to_vec();
        assert_eq!(missing.into_notes(), [Note::ArtifactsLost { count: 3, first, message }]);
    }

    #[test]
    fn a_log_that_did_not_arrive_is_told_too() {
        let mut missing = Missing::all();
        missing.no_time("it was ended at once");
        let message = "`log.txt` may be cut short here: it was ended at once".to_owned();
        assert_eq!(missing.into_notes(), [Note::LogFailed { message }]);
    }
}
