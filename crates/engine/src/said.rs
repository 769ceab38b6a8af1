//! What is said in the log, for tests: each hears its own thread.

use std::{cell::RefCell, sync::Once};

thread_local! {
    static SAID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Listener;

static LISTENER: Listener = Listener;
static LISTENS: Once = Once::new();

impl log::Log for Listener {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        SAID.with_borrow_mut(|said| said.push(format!("{} {}", record.level(), record.args())));
    }

    fn flush(&self) {}
}

/// What this thread has said since the last call; the first call only begins to listen.
pub(crate) fn said() -> Vec<String> {
    LISTENS.call_once(|| {
        log::set_logger(&LISTENER).expect("the only one");
        log::set_max_level(log::LevelFilter::Debug);
    });
    SAID.take()
}
