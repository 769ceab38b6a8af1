//! The guard's one loop: frames of the worker, ended children, verdicts of launches, sweeps and samples, in turn.
//!
//! Nothing in it waits for a peer, a disk or a child. Its only wait is `poll`, bounded by the next sweep or sample. (As a
//! last resort it reads the environment of an orphan without a mark, which a stuck process can hold up; the worker then
//! hears nothing for too long, and ends the guard and what it has.)

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use unknot_api::work::Usage;

use super::cgroup::{Cgroup, Hierarchy};
use super::kernel::{self, Reap, Reaped};
use super::owner::{Kernel, Owner, Owners, Traits};
use super::roster::{Attempt, Sweep};
use super::start::{self, Born, Origin, Outputs};
use super::wire::{self, Came, Enforced, FromGuard, Inbound, LaunchFailure, Spawn, ToGuard};
use crate::descriptors::Reserve;
use crate::identity::Mark;
use crate::proc::{self, Stat};

/// How often attempts with sampled limits are measured.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
/// How long, after its worker is gone, the guard goes on killing.
const LAST_SWEEP: Duration = Duration::from_millis(4_500);
/// How often the guard looks at the leases of what it has, at the least.
const FENCE_LOOK_EVERY: Duration = Duration::from_secs(1);
/// With more bytes than this waiting for the worker, samples are left out.
const OUTBOUND_BYTES_SOFT: usize = 64 * 1024;

/// A guard at work.
pub(crate) struct Guard<'a> {
    socket: BorrowedFd<'a>,
    signals: OwnedFd,
    origin: Origin,
    hierarchy: Option<Hierarchy>,
    inbound: Inbound,
    /// The pipes of Spawns whose frames are not whole yet; none of one that there was no room for.
    outputs: VecDeque<Option<Outputs>>,
    outbound: Vec<u8>,
    attempts: BTreeMap<Mark, Attempt>,
    owners: Owners,
    sample_at: Instant,
    stray_sweep_at: Option<Instant>,
}

impl<'a> Guard<'a> {
    pub(crate) fn new(
        socket: BorrowedFd<'a>,
        signals: OwnedFd,
        origin: Origin,
        hierarchy: Option<Hierarchy>,
    ) -> io::Result<Self> {
        let mut guard = Self {
            socket,
            signals,
            hierarchy,
            inbound: Inbound::default(),
            outputs: VecDeque::new(),
            outbound: Vec::new(),
            attempts: BTreeMap::new(),
            owners: Owners::default(),
            sample_at: Instant::now(),
            stray_sweep_at: None,
            origin,
        };
        guard.say(&FromGuard::Ready)?;
        Ok(guard)
    }

    /// Serves the worker until it is gone.
    ///
    /// # Errors
    ///
    /// If the worker breaks the protocol or the kernel refuses to poll; either way the worker is as good as gone.
    pub(crate) fn serve(&mut self) -> io::Result<()> {
        loop {
            self.wait()?;
            if !self.hear()? {
                return Ok(());
            }
            self.drain_signals();
            self.reap()?;
            self.settle_launches()?;
            self.fence()?;
            self.sweep()?;
            self.sample()?;
            self.flush()?;
        }
    }

    /// Kills everything that the guard has, again and again, until nothing is left or the time is over.
    pub(crate) fn end_everything(&mut self) {
        let until = Instant::now() + LAST_SWEEP;
        let mut pause = Duration::from_millis(1);
        while Instant::now() < until {
            for attempt in self.attempts.values() {
                attempt.kill_known();
            }
            for stat in proc::descendants(self.origin.guard_pid).unwrap_or_default() {
                // A process that is gone already is what this is for; one that may not be killed is met again.
                proc::signal_exactly(&stat, rustix::process::Signal::KILL).unwrap_or_default();
            }
            loop {
                match kernel::reap() {
                    Reap::Ended(reaped) => {
                        let ended = self.attempts.values_mut().find(|attempt| attempt.is_main(reaped.pid));
                        ended.into_iter().for_each(Attempt::main_ended);
                    }
                    Reap::AllAlive => break,
                    Reap::NoChildren => return,
                }
            }
            self.drain_signals();
            let mut fds = [PollFd::new(&self.signals, PollFlags::IN)];
            poll(&mut fds, Some(&timespec(pause))).unwrap_or_default();
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    fn wait(&self) -> io::Result<()> {
        let mut due = self.stray_sweep_at;
        let sweeps = self.attempts.values().filter_map(|attempt| attempt.sweep.as_ref().map(|sweep| sweep.at));
        let sample = self.attempts.values().any(Attempt::is_sampled).then_some(self.sample_at);
        for at in sweeps.chain(sample) {
            due = Some(due.map_or(at, |due| due.min(at)));
        }
        // Leases run on while the machine sleeps, and the clock of `poll` does not.
        let fences = self.attempts.values().filter(|attempt| attempt.sweep.is_none());
        if let Some(first) = fences.filter_map(|attempt| attempt.kill_at).min() {
            let at = Instant::now() + first.left().min(FENCE_LOOK_EVERY);
            due = Some(due.map_or(at, |due| due.min(at)));
        }
        let timeout = due.map(|due| timespec(due.saturating_duration_since(Instant::now())));
        let talk = if self.outbound.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        let mut fds = vec![PollFd::new(&self.socket, talk), PollFd::new(&self.signals, PollFlags::IN)];
        let launches = self.attempts.values().filter_map(|attempt| attempt.verdict.as_ref());
        fds.extend(launches.map(|verdict| PollFd::new(verdict, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what the worker has sent; false at its end.
    fn hear(&mut self) -> io::Result<bool> {
        // Whatever a worker sends, the guard can still look into /proc and end what it has.
        let _reserve = Reserve::keep();
        let mut buffer = [0; 16 * 1024];
        // Bounded, so that a talkative worker cannot keep the guard from reaping.
        for _ in 0..16 {
            match wire::receive(self.socket, &mut buffer) {
                Ok((0, _)) => return Ok(false),
                Ok((count, came)) => {
                    self.inbound.push(&buffer[..count]);
                    match came {
                        Came::Nothing => {}
                        Came::Pair([stdout, stderr]) => self.outputs.push_back(Some(Outputs { stdout, stderr })),
                        Came::Lost => self.outputs.push_back(None),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        while let Some(message) = self.inbound.next()? {
            self.obey(message)?;
        }
        Ok(true)
    }

    fn obey(&mut self, message: ToGuard) -> io::Result<()> {
        match message {
            ToGuard::Spawn(spawn) => self.spawn(&spawn),
            ToGuard::Term { mark } => {
                if let Some(attempt) = self.attempts.get_mut(&mark) {
                    attempt.terminate();
                }
                Ok(())
            }
            ToGuard::End { mark } => match self.attempts.get_mut(&mark) {
                Some(attempt) => {
                    attempt.sweep.get_or_insert_with(Sweep::now);
                    Ok(())
                }
                None => self.say(&FromGuard::Gone { mark, count: 0, left: Vec::new(), usage: Usage::default() }),
            },
            ToGuard::Extend { mark, kill_at } => {
                if let Some(attempt) = self.attempts.get_mut(&mark) {
                    attempt.kill_at = Some(kill_at);
                }
                Ok(())
            }
            ToGuard::List { mark } => {
                let owned = self.judge().into_iter().filter(|(_, owner)| *owner == Owner::Attempt(mark));
                let pids = owned.map(|(stat, _)| stat.pid).collect();
                self.say(&FromGuard::Left { mark, pids })
            }
            ToGuard::Ping => self.say(&FromGuard::Pong),
        }
    }

    fn spawn(&mut self, spawn: &Spawn) -> io::Result<()> {
        let Some(outputs) = self.outputs.pop_front() else {
            return Err(io::Error::other("a Spawn frame came without its descriptors"));
        };
        let born = match outputs {
            Some(outputs) => self.bear(spawn, &outputs),
            None => Err(rustix::io::Errno::MFILE.into()),
        };
        let (born, cgroup, enforced) = match born {
            Ok(started) => started,
            Err(error) => {
                let failure = LaunchFailure::of("cannot start a process", &error);
                return self.say(&FromGuard::LaunchFailed { mark: spawn.mark, failure });
            }
        };
        let start_ticks = Stat::read(born.pid).map_or(0, |stat| stat.start_ticks);
        let traits = Traits {
            attempt: spawn.attempt.clone(),
            main: born.pid,
            start_ticks,
            cgroup: cgroup.as_ref().map(|cgroup| cgroup.folder().to_owned()),
        };
        self.owners.insert(spawn.mark, traits);
        let mut attempt = Attempt::new(born, cgroup, enforced, &spawn.limits);
        attempt.kill_at = spawn.kill_at;
        self.attempts.insert(spawn.mark, attempt);
        Ok(())
    }

    /// Starts the process of an attempt, in a cgroup if that can be. Without one the other evidence serves, and the
    /// limits are sampled; so it is as well where a sandbox refuses the call by which a process is born in one.
    fn bear(&self, spawn: &Spawn, outputs: &Outputs) -> io::Result<(Born, Option<Cgroup>, Enforced)> {
        let name = spawn.mark.to_string();
        let made = self.hierarchy.as_ref().and_then(|place| place.create(&name, &spawn.limits).ok());
        if let Some((cgroup, enforced)) = made {
            match start::start(&self.origin, spawn, outputs, Some(&cgroup)) {
                Ok(born) => return Ok((born, Some(cgroup), enforced)),
                Err(_) => cgroup.remove(),
            }
        }
        Ok((start::start(&self.origin, spawn, outputs, None)?, None, Enforced::default()))
    }

    fn drain_signals(&self) {
        // CHLD only wakes the loop, and PIPE shows where one writes. TERM, INT, HUP and QUIT are caught and left: they
        // reach the worker as well, which walks its ladder and then goes, and its going is what ends the guard. Were
        // the guard to go first, nobody could finish that ladder.
        let mut buffer = [0_u8; 1024];
        while rustix::io::read(&self.signals, &mut buffer).is_ok_and(|count| count > 0) {}
    }

    fn reap(&mut self) -> io::Result<()> {
        let mut orphans = false;
        while let Reap::Ended(reaped) = kernel::reap() {
            let found = self.attempts.iter().find(|(_, attempt)| attempt.is_main(reaped.pid)).map(|(mark, _)| *mark);
            match found {
                Some(mark) => self.ended(mark, reaped)?,
                None => {
                    orphans = true;
                    if let Some(attempt) = reaped.mark.and_then(|mark| self.attempts.get_mut(&mark)) {
                        attempt.orphan_ended(reaped.usage);
                    }
                }
            }
        }
        if orphans {
            // A kill has shown its effect: look again now instead of at the next interval.
            self.attempts
                .values_mut()
                .filter_map(|attempt| attempt.sweep.as_mut())
                .for_each(|sweep| sweep.at = Instant::now());
        }
        Ok(())
    }

    fn ended(&mut self, mark: Mark, reaped: Reaped) -> io::Result<()> {
        if let Some(attempt) = self.attempts.get_mut(&mark)
            && attempt.is_ending()
        {
            // A closed pipe then means an end as often as a start, and what was to be stopped need not be said to run.
            attempt.verdict = None;
        }
        self.settle_launch(mark)?;
        let Some(attempt) = self.attempts.get_mut(&mark) else { return Ok(()) };
        attempt.main_ended();
        let broken = attempt.broken();
        let usage = reaped.usage.and(attempt.take_orphans());
        let is_swept = attempt.sweep.is_some();
        let alone = !is_swept && self.is_alone();
        let Reaped { exit, signal, .. } = reaped;
        self.say(&FromGuard::Exited { mark, exit, signal, usage, broken, alone })?;
        if alone {
            self.forget(mark);
        }
        Ok(())
    }

    /// Whether it is certain, and cheap to know, that nothing is left of an attempt whose main process is gone.
    ///
    /// What a dead process leaves behind is the guard's child at once. So if all of the guard's children are main
    /// processes, no orphan exists. That its cgroup is empty does not suffice: a process may have moved to another, as
    /// those of containers do.
    fn is_alone(&self) -> bool {
        proc::children(self.origin.guard_pid).is_some_and(|children| children.iter().all(|pid| self.is_main(*pid)))
    }

    fn is_main(&self, pid: u32) -> bool {
        self.attempts.values().any(|attempt| attempt.is_main(pid))
    }

    /// Whether a look at the descendants has missed one. It is no picture of one moment: a process that forks and ends
    /// while it is taken shows neither itself nor its child. But that child is the guard's then, and the list of these
    /// is exact, since only the guard takes from it.
    fn has_missed(&self, descendants: &[Stat]) -> bool {
        let is_known = |pid: &u32| self.is_main(*pid) || descendants.iter().any(|stat| stat.pid == *pid);
        proc::children(self.origin.guard_pid).is_some_and(|children| !children.iter().all(is_known))
    }

    fn forget(&mut self, mark: Mark) {
        self.owners.remove(mark);
        if let Some(attempt) = self.attempts.remove(&mark)
            && let Some(cgroup) = &attempt.cgroup
        {
            cgroup.remove();
        }
        if self.owners.is_empty() {
            self.stray_sweep_at = Some(Instant::now());
        }
    }

    fn settle_launches(&mut self) -> io::Result<()> {
        let launching: Vec<Mark> =
            self.attempts.iter().filter(|(_, attempt)| attempt.verdict.is_some()).map(|(mark, _)| *mark).collect();
        launching.into_iter().try_for_each(|mark| self.settle_launch(mark))
    }

    /// Reads whether the program of an attempt runs; nothing happens while that is open.
    fn settle_launch(&mut self, mark: Mark) -> io::Result<()> {
        let Some(attempt) = self.attempts.get_mut(&mark) else { return Ok(()) };
        let Some(verdict) = attempt.verdict.take() else { return Ok(()) };
        let mut pipe = std::fs::File::from(verdict);
        let mut text = vec![0; 4096];
        match pipe.read(&mut text) {
            Ok(0) => {
                let Attempt { main, enforced, .. } = *attempt;
                self.say(&FromGuard::Started { mark, pid: main, enforced })
            }
            Ok(count) => {
                let unread = |_| LaunchFailure::passing(String::from_utf8_lossy(&text[..count]).into_owned());
                let failure = serde_json::from_slice(&text[..count]).unwrap_or_else(unread);
                self.forget(mark);
                self.say(&FromGuard::LaunchFailed { mark, failure })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                attempt.verdict = Some(pipe.into());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Ends what nobody has put off: its worker cannot reach whoever assigned it, or stands still.
    fn fence(&mut self) -> io::Result<()> {
        let is_due = |attempt: &Attempt| {
            attempt.sweep.is_none() && attempt.kill_at.is_some_and(|kill_at| kill_at.left().is_zero())
        };
        let due: Vec<Mark> =
            self.attempts.iter().filter(|(_, attempt)| is_due(attempt)).map(|(mark, _)| *mark).collect();
        for mark in due {
            self.say(&FromGuard::Fenced { mark })?;
            self.obey(ToGuard::End { mark })?;
        }
        Ok(())
    }

    /// Everything that it has, if that can be seen.
    fn judge(&mut self) -> Vec<(Stat, Owner)> {
        let descendants = proc::descendants(self.origin.guard_pid);
        descendants.map(|descendants| self.owners.judge(descendants, &Kernel)).unwrap_or_default()
    }

    /// One look at all descendants serves all sweeps that are due.
    fn sweep(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let due = |attempt: &Attempt| attempt.sweep.as_ref().is_some_and(|sweep| sweep.at <= now);
        let marks: Vec<Mark> =
            self.attempts.iter().filter(|(_, attempt)| due(attempt)).map(|(mark, _)| *mark).collect();
        let strays = self.stray_sweep_at.is_some_and(|at| at <= now);
        if marks.is_empty() && !strays {
            return Ok(());
        }
        let seen = proc::descendants(self.origin.guard_pid);
        // What cannot be seen is not gone.
        let has_missed = seen.as_ref().is_none_or(|descendants| self.has_missed(descendants));
        let is_blind = seen.is_none();
        let judged = seen.map(|descendants| self.owners.judge(descendants, &Kernel)).unwrap_or_default();
        for mark in marks {
            let owned: Vec<&Stat> =
                judged.iter().filter(|(_, owner)| *owner == Owner::Attempt(mark)).map(|(stat, _)| stat).collect();
            let Some(attempt) = self.attempts.get_mut(&mark) else { continue };
            if let Some(gone) = attempt.sweep_once(mark, &owned, has_missed) {
                self.forget(mark);
                self.say(&gone)?;
            }
        }
        let strays: Vec<&Stat> =
            judged.iter().filter(|(_, owner)| *owner == Owner::Stray).map(|(stat, _)| stat).collect();
        for stray in &strays {
            proc::signal_exactly(stray, rustix::process::Signal::KILL).unwrap_or_default();
        }
        self.stray_sweep_at = (is_blind || !strays.is_empty()).then(|| now + Duration::from_millis(50));
        Ok(())
    }

    fn sample(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let sampled: Vec<Mark> =
            self.attempts.iter().filter(|(_, attempt)| attempt.is_sampled()).map(|(mark, _)| *mark).collect();
        if sampled.is_empty() || now < self.sample_at || self.outbound.len() > OUTBOUND_BYTES_SOFT {
            return Ok(());
        }
        self.sample_at = now + SAMPLE_EVERY;
        let judged = self.judge();
        for mark in sampled {
            let owned = judged.iter().filter(|(_, owner)| *owner == Owner::Attempt(mark)).map(|(stat, _)| stat);
            let Some(attempt) = self.attempts.get_mut(&mark) else { continue };
            let sample = attempt.measure(owned);
            self.say(&FromGuard::Sample { mark, sample })?;
        }
        Ok(())
    }

    fn say(&mut self, message: &FromGuard) -> io::Result<()> {
        self.outbound.extend(wire::encode(message)?);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.outbound.is_empty() {
            match wire::send(self.socket.as_fd(), &self.outbound, &[]) {
                Ok(count) => drop(self.outbound.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The worker is gone; the next look at its end says so.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.outbound.clear(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn timespec(duration: Duration) -> Timespec {
    let tv_sec = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: i64::from(duration.subsec_nanos()) }
}
