//! The calls that neither the standard library nor `rustix` offers, each behind a safe function.
//!
//! They are sound because the guard has exactly one thread, from before `main` to its end: after `fork`, no lock can
//! be held by a thread that the child does not have.
#![expect(unsafe_code, reason = "fork, signal dispositions, signalfd, wait4 and prlimit have no safe wrapper")]

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use unknot_api::work::Usage;

use crate::identity::Mark;

/// As in `linux/sched.h`; libc's constant is deprecated because its type is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a fork this is.
pub(crate) enum Forked {
    Parent { child: u32 },
    Child,
}

/// Forks; the child is born inside the cgroup, if one is given. (Moving a process later makes the whole machine wait
/// for a grace period, some 10 ms.)
///
/// # Errors
///
/// As `clone3` and `fork`.
pub(crate) fn fork(cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    let pid = match cgroup {
        // SAFETY: without CLONE_VM the child has its own copy of everything, as after fork. `args` lives through the
        // call and its size is passed. This process has one thread.
        Some(folder) => unsafe {
            let mut args: libc::clone_args = mem::zeroed();
            args.flags = CLONE_INTO_CGROUP;
            args.exit_signal = libc::SIGCHLD as u64;
            args.cgroup = folder.as_raw_fd() as u64;
            libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>())
        },
        // SAFETY: this process has one thread.
        None => unsafe { libc::c_long::from(libc::fork()) },
    };
    match pid {
        0 => Ok(Forked::Child),
        pid => u32::try_from(pid).map(|child| Forked::Parent { child }).map_err(|_| io::Error::last_os_error()),
    }
}

/// Closes every descriptor above the standard three. A guard that kept its starter's would hold other people's pipes
/// and locks, and so would each of its attempts.
pub(crate) fn close_inherited() {
    // SAFETY: called before this process opens anything, so nothing in it owns one of these descriptors. Refused only
    // by a kernel before 5.9, where inherited descriptors stay open, as they do for any other program.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

/// Ends this process at once, running nothing of what `exit` would run.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes any status and does not return.
    unsafe { libc::_exit(status) }
}

/// Gives every signal its default effect and blocks none: a program must not inherit what its starter ignores (an
/// ignored SIGPIPE alone makes pipelines hang).
pub(crate) fn reset_signals() {
    // Not by libc: it refuses to touch its own two signals, which its posix_spawn leaves ignored in the guard.
    let default = [0_u64; 8];
    for signal in 1..=64 {
        // SAFETY: all zeros are the kernel's SIG_DFL with no flags and an empty mask, and there are more of them than
        // its structure has bytes; KILL and STOP are refused, harmlessly.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null_mut::<u8>(), 8_usize) };
    }
    // SAFETY: the set is initialised by sigemptyset before it is read.
    unsafe {
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
}

/// Blocks SIGCHLD and the signals that ask a process to end, and returns a descriptor that becomes readable with them.
///
/// # Errors
///
/// As `signalfd`.
pub(crate) fn catch_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before it is read; the returned descriptor is new and ours.
    unsafe {
        let mut caught = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(caught.as_mut_ptr());
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE] {
            libc::sigaddset(caught.as_mut_ptr(), signal);
        }
        if libc::sigprocmask(libc::SIG_BLOCK, caught.as_ptr(), ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, caught.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// A child that has ended and is now reaped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reaped {
    pub(crate) pid: u32,
    /// The mark that it bore.
    pub(crate) mark: Option<Mark>,
    pub(crate) exit: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) usage: Usage,
}

/// What a look for ended children found.
pub(crate) enum Reap {
    Ended(Reaped),
    AllAlive,
    NoChildren,
}

/// The process of an ended child that waits to be reaped; zero if all are alive, negative if there are no children.
fn ended_child() -> libc::pid_t {
    // SAFETY: an all-zero siginfo is a valid one; the pointer lives through the call, which fills in a child's signal
    // or, if none has ended, leaves the zeros.
    unsafe {
        let mut info: libc::siginfo_t = mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        match libc::waitid(libc::P_ALL, 0, &raw mut info, options) {
            0 => info.si_pid(),
            _ => -1,
        }
    }
}

/// Reaps one ended child, whichever; never waits.
pub(crate) fn reap() -> Reap {
    let ended = ended_child();
    // What is not reaped yet still bears its mark.
    let mark = u32::try_from(ended).ok().filter(|pid| *pid > 0).and_then(mark_of);
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid one; both pointers live through the call. Nobody else reaps this
    // process's children, so the one that has ended is still there.
    let (pid, usage) = unsafe {
        let mut usage: libc::rusage = mem::zeroed();
        let pid = if ended > 0 { libc::wait4(ended, &raw mut status, libc::WNOHANG, &raw mut usage) } else { ended };
        (pid, usage)
    };
    match u32::try_from(pid) {
        Err(_) => Reap::NoChildren,
        Ok(0) => Reap::AllAlive,
        Ok(pid) => Reap::Ended(Reaped {
            pid,
            mark,
            exit: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
            signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
            usage: Usage {
                user_ms: millis(usage.ru_utime),
                system_ms: millis(usage.ru_stime),
                max_rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
            },
        }),
    }
}

fn millis(time: libc::timeval) -> u64 {
    u64::try_from(time.tv_sec * 1000 + time.tv_usec / 1000).unwrap_or(0)
}

/// The mark that a process bears; `None` if it bears none, is gone, or belongs to someone else.
pub(crate) fn mark_of(pid: u32) -> Option<Mark> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a null new limit only reads; the old one is written to a place that lives through the call.
    let answer = unsafe { libc::prlimit64(i32::try_from(pid).ok()?, libc::RLIMIT_RTTIME, ptr::null(), &raw mut limit) };
    (answer == 0).then(|| Mark::from_limit(limit.rlim_cur)).flatten()
}

/// Clock ticks in a second, as `/proc` counts time.
pub(crate) fn ticks_per_second() -> u64 {
    // SAFETY: sysconf only reads a constant of the system.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100).max(1)
}
