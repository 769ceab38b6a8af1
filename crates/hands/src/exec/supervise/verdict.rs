//! What an attempt's end means. Pure.

use unknot_api::work::{FailureCode, JsonText, Limits, NextTry, Outcome, StopReason, Usage};

use crate::confirm::Fate;
use crate::guard::wire::{Broken, Sample};

/// Why the ladder is walked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    Asked(StopReason),
    /// A limit was broken, as the text says.
    Limit(String),
}

/// How the main process ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exit {
    pub(super) status: Option<i32>,
    pub(super) signal: Option<i32>,
    pub(super) usage: Usage,
    pub(super) broken: Broken,
    /// Nothing else of the attempt is left.
    pub(super) is_gone: bool,
}

/// The outcome of an attempt whose processes are all gone; `None` if it has succeeded so far and its output decides.
/// `why`: what it was stopped for, if a rung was taken before its end.
pub(super) fn of_exit(exit: Exit, why: Option<&Why>, limits: &Limits) -> Option<Outcome> {
    match why {
        Some(Why::Asked(reason)) => return Some(Outcome::Stopped { reason: *reason }),
        Some(Why::Limit(message)) => return Some(failed(FailureCode::Limit, message.clone(), exit)),
        None => {}
    }
    if let Some(message) = limit_by_kernel(exit, limits) {
        return Some(failed(FailureCode::Limit, message, exit));
    }
    match (exit.status, exit.signal) {
        (Some(0), _) => None,
        (Some(status), _) => Some(failed(FailureCode::Exit, format!("exited with status {status}"), exit)),
        (None, Some(signal)) => Some(failed(FailureCode::Signal, format!("ended by {}", signal_name(signal)), exit)),
        (None, None) => Some(failed(FailureCode::Exit, "ended with a status that is not known".into(), exit)),
    }
}

fn failed(code: FailureCode, message: String, exit: Exit) -> Outcome {
    Outcome::Failed { code, message, exit: exit.status, signal: exit.signal, next_try: NextTry::AsUsual }
}

fn refused(most: u64) -> String {
    format!("limit processes: the kernel refused one more than {most}")
}

/// The kernel's own enforcement shows in how the process died, and in what its cgroup counts.
fn limit_by_kernel(exit: Exit, limits: &Limits) -> Option<String> {
    if exit.broken.memory {
        let limit = limits.memory_bytes.unwrap_or(0);
        return Some(format!("limit memory: the kernel ended a process at {limit} bytes"));
    }
    if let Some(most) = limits.processes.filter(|_| exit.broken.processes) {
        return Some(refused(most));
    }
    match exit.signal? {
        libc::SIGXFSZ => limits.file_size_bytes.map(|bytes| format!("limit file_size: a file grew past {bytes} bytes")),
        libc::SIGXCPU | libc::SIGKILL if used_up(exit.usage, limits) => {
            limits.cpu_time_ms.map(|ms| format!("limit cpu_time: a process used more than {ms} ms"))
        }
        _ => None,
    }
}

fn used_up(usage: Usage, limits: &Limits) -> bool {
    limits.cpu_time_ms.is_some_and(|most| usage.user_ms + usage.system_ms >= most)
}

/// What the output makes of a process that ended well.
pub(super) fn of_output(decided: Result<JsonText, String>) -> Outcome {
    match decided {
        Ok(output) => Outcome::Succeeded { output },
        Err(message) => Outcome::Failed {
            code: FailureCode::Output,
            message,
            exit: Some(0),
            signal: None,
            next_try: NextTry::AsUsual,
        },
    }
}

/// What the loss of the guard means.
pub(super) fn lost(fate: Fate) -> Outcome {
    let lost = |text: String, confirmed_dead| Outcome::Lost { message: text, confirmed_dead };
    match fate {
        Fate::ConfirmedDead => lost("its guard ended; nothing of it is left".into(), true),
        Fate::Survives { pids } => lost(format!("its guard ended; processes that would not die: {pids:?}"), false),
        Fate::Unknown { message } => lost(format!("its guard ended, and {message}"), false),
    }
}

/// The first limit that a sample is above, in words.
pub(super) fn breach(limits: &Limits, sample: Sample) -> Option<String> {
    let above = |most: Option<u64>, is: u64| most.filter(|most| is > *most);
    if let Some(most) = above(limits.memory_bytes, sample.memory_bytes) {
        return Some(format!("limit memory, sampled: {} bytes resident, at most {most} allowed", sample.memory_bytes));
    }
    if let Some(most) = above(limits.cpu_time_ms, sample.cpu_time_ms) {
        return Some(format!("limit cpu_time, sampled: {} ms used, at most {most} allowed", sample.cpu_time_ms));
    }
    if let Some(most) = limits.processes.filter(|_| sample.is_refused) {
        return Some(refused(most));
    }
    let most = above(limits.processes, sample.processes)?;
    Some(format!("limit processes, sampled: {} alive, at most {most} allowed", sample.processes))
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        _ => return format!("signal {signal}"),
    };
    format!("{name} (signal {signal})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(status: Option<i32>, signal: Option<i32>) -> Exit {
        Exit { status, signal, usage: Usage::default(), broken: Broken::default(), is_gone: true }
    }

    fn code(outcome: Option<Outcome>) -> FailureCode {
        let Some(Outcome::Failed { code, .. }) = outcome else { panic!("{outcome:?}") };
        code
    }

    #[test]
    fn an_exit_speaks_for_itself() {
        let none = Limits::default();
        assert_eq!(of_exit(exit(Some(0), None), None, &none), None);
        assert_eq!(code(of_exit(exit(Some(3), None), None, &none)), FailureCode::Exit);
        assert_eq!(code(of_exit(exit(None, Some(11)), None, &none)), FailureCode::Signal);
    }

    #[test]
    fn what_was_stopped_is_stopped() {
        let why = Why::Asked(StopReason::Cancelled);
        let none = Limits::default();
        let stopped = Some(Outcome::Stopped { reason: StopReason::Cancelled });
        assert_eq!(of_exit(exit(Some(0), None), Some(&why), &none), stopped);
    }

    #[test]
    fn the_kernels_limits_are_recognised() {
        let limits = Limits { file_size_bytes: Some(10), cpu_time_ms: Some(100), ..Limits::default() };
        assert_eq!(code(of_exit(exit(None, Some(libc::SIGXFSZ)), None, &limits)), FailureCode::Limit);
        assert_eq!(code(of_exit(exit(None, Some(libc::SIGXCPU)), None, &limits)), FailureCode::Signal);
        let usage = Usage { user_ms: 90, system_ms: 20, max_rss_bytes: 0 };
        let used = Exit { usage, ..exit(None, Some(libc::SIGXCPU)) };
        assert_eq!(code(of_exit(used, None, &limits)), FailureCode::Limit);
        let refused = Exit { broken: Broken { memory: false, processes: true }, ..exit(Some(2), None) };
        assert_eq!(code(of_exit(refused, None, &limits)), FailureCode::Exit, "not this task's limit");
        let limits = Limits { processes: Some(3), ..Limits::default() };
        assert_eq!(code(of_exit(refused, None, &limits)), FailureCode::Limit);
    }

    #[test]
    fn a_breach_names_its_limit() {
        let limits = Limits { memory_bytes: Some(10), processes: Some(2), ..Limits::default() };
        let sample = |memory_bytes, processes| Sample { memory_bytes, cpu_time_ms: 1, processes, is_refused: false };
        let refused = Sample { is_refused: true, ..sample(1, 2) };
        assert!(breach(&limits, refused).unwrap().starts_with("limit processes: the kernel refused"));
        assert_eq!(breach(&limits, sample(10, 2)), None);
        assert!(breach(&limits, sample(11, 2)).unwrap().starts_with("limit memory, sampled"));
        assert!(breach(&limits, sample(1, 3)).unwrap().starts_with("limit processes, sampled"));
    }
}
