//! Panics of the brain, kept instead of printed: the driver catches them, and a world must know of them.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::Once,
};

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    static HEARD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Runs something; a panic in it becomes an error, and nothing is printed.
pub(crate) fn quietly(run: AssertUnwindSafe<impl FnOnce() -> Result<(), String>>) -> Result<(), String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if IS_QUIET.get() {
                HEARD.with_borrow_mut(|heard| heard.push(panic.to_string()));
            } else {
                before(panic);
            }
        }));
    });
    take();
    IS_QUIET.set(true);
    let outcome = catch_unwind(run);
    IS_QUIET.set(false);
    outcome.unwrap_or_else(|_| Err(take().pop().unwrap_or_default()))
}

/// The panics since the last call, in order.
pub(crate) fn take() -> Vec<String> {
    HEARD.take()
}
