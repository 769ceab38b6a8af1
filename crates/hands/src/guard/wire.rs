//! What a worker and its guard say to each other: JSON in frames, each after its length (four bytes, little endian).
//!
//! A [`ToGuard::Spawn`] frame travels with two descriptors, the write ends of the attempt's output pipes. The worker
//! keeps the read ends: output never passes through the guard, so a chatty task costs the guard neither memory nor
//! time, and a slow disk cannot make it late for a kill. What the guard may have to hold back for a slow worker is
//! bounded by its attempts: a handful of small events each, samples only while nothing else waits.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use unknot_api::work::{LaunchFault, Limits, Outcome, ProcessRef, Usage};

use crate::identity::Mark;
use crate::lease::Moment;

/// The largest frame, in bytes: more than the kernel takes for a program's arguments and environment (2 MiB).
pub(crate) const FRAME_BYTES_MAX: usize = 8 << 20;
/// How many descriptors a Spawn frame carries.
pub(crate) const SPAWN_FDS: usize = 2;

/// From the worker to the guard.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToGuard {
    /// Start an attempt. Answered by `Started` or `LaunchFailed`, later by `Exited`.
    Spawn(Box<Spawn>),
    /// TERM (and CONT, so that a stopped process hears it) to the attempt's group.
    Term { mark: Mark },
    /// KILL all that the attempt has, again and again until nothing is left. Answered by `Gone`.
    End { mark: Mark },
    /// Name what is left of the attempt. Answered by `Left`.
    List { mark: Mark },
    /// Let the attempt go on until then; after that, `Fenced`, and as for `End`.
    Extend { mark: Mark, kill_at: Moment },
    /// Prove that you move. Answered by `Pong`.
    Ping,
}

/// Everything that the guard needs to start an attempt.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spawn {
    pub(crate) mark: Mark,
    pub(crate) attempt: String,
    /// The attempt's folder, absolute.
    pub(crate) folder: PathBuf,
    pub(crate) argv: Vec<String>,
    /// Set over the guard's own environment.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: Option<String>,
    pub(crate) limits: Limits,
    /// When it is ended unless that is put off; none: nobody minds.
    pub(crate) kill_at: Option<Moment>,
}

/// Why a program does not run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LaunchFailure {
    /// What was attempted and why it failed.
    pub(crate) message: String,
    pub(crate) fault: LaunchFault,
}

impl LaunchFailure {
    pub(crate) fn passing(message: String) -> Self {
        Self { message, fault: LaunchFault::Passing }
    }

    pub(crate) fn lasting(message: String) -> Self {
        Self { message, fault: LaunchFault::Lasting }
    }

    /// What could not be done because of an error of the machine's, not of the command.
    pub(crate) fn of(what: impl std::fmt::Display, error: &io::Error) -> Self {
        let fault = if is_shortage(error) { LaunchFault::Shortage } else { LaunchFault::Passing };
        Self { message: format!("{what}: {error}"), fault }
    }

    /// A program that could not become this process: mostly its own fault.
    pub(crate) fn of_program(message: String, error: &io::Error) -> Self {
        let fault = match error.kind() {
            _ if is_shortage(error) => LaunchFault::Shortage,
            // Somebody is writing it.
            io::ErrorKind::ExecutableFileBusy => LaunchFault::Passing,
            _ => LaunchFault::Lasting,
        };
        Self { message, fault }
    }

    /// As it goes through a pipe in one piece: below the 4,096 bytes that a pipe never splits.
    pub(crate) fn told(mut self) -> Vec<u8> {
        const MESSAGE_MAX: usize = 600;
        if let Some((cut, _)) = self.message.char_indices().nth(MESSAGE_MAX) {
            self.message.truncate(cut);
        }
        // Escaped, a character takes six bytes at most.
        serde_json::to_vec(&self).unwrap_or_default()
    }
}

/// Whether an error means that there is none left of something, as opposed to something that is broken. A disk that
/// was made read-only counts: that is done to it, and undone.
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::ROFS,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::AGAIN, // of `fork`: no more processes
    ];
    error.raw_os_error().is_some_and(|code| shortages.iter().any(|shortage| shortage.raw_os_error() == code))
}

impl From<LaunchFailure> for Outcome {
    fn from(LaunchFailure { message, fault }: LaunchFailure) -> Self {
        Self::LaunchFailed { message, fault }
    }
}

/// From the guard to its worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromGuard {
    /// The guard is there.
    Ready,
    /// The program runs.
    Started { mark: Mark, pid: u32, enforced: Enforced },
    /// The program could not be started; nothing is left of the attempt.
    LaunchFailed { mark: Mark, failure: LaunchFailure },
    /// The main process has ended. `alone`: and nothing else is left, so no `End` is needed.
    /// `usage`: its own, with all that it waited for and all that was orphaned and ended before it.
    Exited { mark: Mark, exit: Option<i32>, signal: Option<i32>, usage: Usage, broken: Broken, alone: bool },
    /// After `End`: nothing is left. `left`: what had outlived the main process and was killed. `usage`: of orphans that
    /// ended after the main process.
    Gone { mark: Mark, count: u32, left: Vec<ProcessRef>, usage: Usage },
    /// Nobody has put its end off in time: it is ended, as after `End`.
    Fenced { mark: Mark },
    /// What is left of the attempt.
    Left { mark: Mark, pids: Vec<u32> },
    /// What an attempt with sampled limits uses now.
    Sample { mark: Mark, sample: Sample },
    /// The answer to `Ping`.
    Pong,
}

/// Which limits the kernel enforces for an attempt, so that nobody has to sample them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Enforced {
    pub(crate) memory: bool,
    pub(crate) processes: bool,
    pub(crate) cpu_share: bool,
}

/// What all living processes of an attempt use together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_time_ms: u64,
    pub(crate) processes: u64,
    /// The kernel has refused another process.
    pub(crate) is_refused: bool,
}

/// Which limits the kernel has had to enforce.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Broken {
    pub(crate) memory: bool,
    pub(crate) processes: bool,
}

/// A message with its length in front.
///
/// # Errors
///
/// If it is longer than [`FRAME_BYTES_MAX`].
pub(crate) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other(format!("a message of {length} bytes is longer than {FRAME_BYTES_MAX}")));
    }
    frame[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    Ok(frame)
}

/// The bytes that have arrived and are not yet a message.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    bytes: Vec<u8>,
}

impl Inbound {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message; `None` if it has not arrived yet.
    ///
    /// # Errors
    ///
    /// If the peer breaks the protocol; the connection is of no more use then.
    pub(crate) fn next<M: DeserializeOwned>(&mut self) -> io::Result<Option<M>> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::other(format!("a frame of {length} bytes is announced")));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = serde_json::from_slice(body)?;
        self.bytes.drain(..4 + length);
        Ok(Some(message))
    }
}

/// Sends bytes, and the descriptors with the first of them; returns how many bytes went.
///
/// # Errors
///
/// As `sendmsg`; `WouldBlock` if nothing could be sent now.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SPAWN_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors for one frame"));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, flags)?)
}

/// What came with some bytes.
#[derive(Debug)]
pub(crate) enum Came {
    Nothing,
    /// Both descriptors of a Spawn, closed on exec.
    Pair([OwnedFd; SPAWN_FDS]),
    /// There was no room for them in this process.
    Lost,
}

/// Receives bytes, and what came with them; 0 bytes is the end. The kernel lets no call cross from the descriptors of
/// one frame to those of the next, so it is never more than one pair.
///
/// # Errors
///
/// As `recvmsg`; `WouldBlock` if there is nothing now.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Came)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SPAWN_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut ancillary, flags)?;
    let mut fds = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    let is_cut = message.flags.contains(ReturnFlags::CTRUNC);
    let came = match <[OwnedFd; SPAWN_FDS]>::try_from(fds) {
        Ok(pair) => Came::Pair(pair),
        Err(fds) if fds.is_empty() && !is_cut => Came::Nothing,
        Err(_) => Came::Lost,
    };
    Ok((message.bytes, came))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_in_pieces() {
        let mark = Mark::new(1, 2);
        let frame = encode(&ToGuard::Term { mark }).unwrap();
        let mut inbound = Inbound::default();
        for byte in &frame[..frame.len() - 1] {
            inbound.push(&[*byte]);
            assert!(inbound.next::<ToGuard>().unwrap().is_none());
        }
        inbound.push(&frame[frame.len() - 1..]);
        assert!(matches!(inbound.next().unwrap(), Some(ToGuard::Term { mark: got }) if got == mark));
    }

    #[test]
    fn a_frame_too_long_ends_the_connection() {
        let mut inbound = Inbound::default();
        inbound.push(&u32::MAX.to_le_bytes());
        assert!(inbound.next::<ToGuard>().is_err());
    }
}
