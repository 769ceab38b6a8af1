//! The process of the brain: it starts, takes turns, acts after commits, and dies at any moment.

use super::{Happening, World, people::Asked};
use crate::{
    checkers::{
        Checked, lease_ran_out, leases_had_a_term, nobody_waits_in_vain, nothing_is_left_standing, runs_are_in_time,
    },
    disk::{Fate, PLANTED},
    hands::{Call, Worker},
    panics,
};
use unknot_core::{
    Millis, Timestamp,
    due::outstanding,
    effect::Effect,
    event::{AttemptEnd, Event, Outcome},
    run::WorkerId,
};
use unknot_engine::driver::{Driver, Fatal, Inputs, Pace, StoreReport, StoreRequest, Turn};

/// Turns at one moment after which the driver is said to turn in circles.
const TURNS_AT_ONCE_MAX: u32 = 3_000;
/// How late something may be once faults are over: a ladder, the margin of its report, an operator's round.
const GRACE: Millis = Millis::from_secs(120);

/// A running process.
pub(super) struct Process {
    pub(super) driver: Driver,
    inbox: Inputs,
    /// Its clock is so far from the world's.
    skew: i64,
    /// The agenda's entry for its next turn.
    turn: Option<(Timestamp, u64)>,
    /// It stands still until then.
    frozen_until: Timestamp,
    /// When its state was loaded, by its own clock.
    loaded_at: Timestamp,
    /// The moment of the last turn, and how many turns there have been at it.
    turns: (Timestamp, u32),
}

impl Process {
    /// Whether no run is left, nothing is under way, and nothing is waited for: no target is still to be told.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.driver.state();
        let is_quiet = state.runs.is_empty() && state.volatile.deadlines.is_empty();
        is_quiet && self.driver.is_settled() && self.inbox.is_empty()
    }

    fn clock(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add_signed(self.skew))
    }
}

impl World {
    /// Now, as the brain's clock says.
    pub(super) fn brain_now(&self) -> Timestamp {
        self.process.as_ref().map_or(self.now, |process| process.clock(self.now))
    }

    /// The process starts: it loads, ends what an earlier one left, and hears who works.
    pub(super) fn start(&mut self) -> Checked {
        let loaded = self.disk.open().map_err(|error| error.to_string())?;
        self.checkers.loaded(&loaded)?;
        self.life += 1;
        let wall = self.now.0.saturating_add_signed(self.wall_jump());
        let begin = wall.max(loaded.meta.high_water.0);
        let driver = Driver::new(loaded, self.workload.settings.bounds).map_err(|error| error.to_string())?;
        self.note(|| format!("start {} runs, commit {}", driver.state().runs.len(), driver.durable().0));
        let left = outstanding(driver.state());
        let mut first = vec![Event::SettingsApplied(Box::new(self.workload.settings.clone()))];
        for lost in left.iter().filter(|lost| lost.worker.is_local()) {
            first.push(self.confirm(lost.attempt, lost.fence));
        }
        let slots = self.chance.between(1, 4) as u32;
        let local = self.boot(WorkerId::LOCAL);
        first.push(Event::WorkerJoined { worker: local.clone(), slots, serves: Box::default() });
        self.workers.insert(WorkerId::LOCAL.to_owned(), Worker::new(local, slots));
        self.checkers.workers_moved();
        self.process = Some(Process {
            driver,
            inbox: Inputs { work: first, ..Inputs::default() },
            skew: begin as i64 - self.now.0 as i64,
            turn: None,
            frozen_until: self.now,
            loaded_at: Timestamp(begin),
            turns: (self.now, 0),
        });
        let names: Vec<String> = self.workers.keys().filter(|name| *name != WorkerId::LOCAL).cloned().collect();
        names.iter().for_each(|name| self.rejoin(name));
        self.wake(Millis(0));
        Ok(())
    }

    /// How far the machine's clock has moved by itself since the last start.
    fn wall_jump(&mut self) -> i64 {
        if self.faults.is_over {
            return 0;
        }
        *self.chance.weighted(&[(20, 0), (2, 10_000), (1, 3_600_000), (2, -10_000), (1, -3_600_000)])
    }

    /// What a start finds out about a local attempt of an earlier life.
    fn confirm(&mut self, attempt: unknot_core::AttemptId, fence: unknot_core::Fence) -> Event {
        let is_ghost = self.ghosts.iter().any(|ghost| ghost.right() == (attempt, fence));
        let confirmed_dead = !is_ghost;
        let outcome = Outcome::Lost { message: "its process ended".to_owned(), confirmed_dead };
        Event::AttemptEnded(Box::new(AttemptEnd { attempt, fence, outcome, detail: Default::default() }))
    }

    /// The process dies, with everything that it had not written and everything that it had started.
    pub(super) fn crash(&mut self) -> Checked {
        let Some(process) = self.process.take() else { return Ok(()) };
        self.count("crash");
        self.note(|| "crash".to_owned());
        if let Some(entry) = process.turn {
            self.agenda.remove(&entry);
        }
        if let Some(batch) = self.disk.crash(&mut self.chance)? {
            self.note(|| format!("commit {} had arrived", batch.commit.0));
            self.checkers.committed(&batch)?;
        }
        if let Some(local) = self.workers.remove(WorkerId::LOCAL) {
            for ghost in local.into_ghosts() {
                if self.chance.permille(self.faults.manners.drops * 4) {
                    self.ghosts.push(ghost);
                }
            }
        }
        self.asked.retain(|_, asked| matches!(asked, Asked::Nothing));
        let after = Millis(self.chance.between(10, if self.faults.is_over { 1_000 } else { 60_000 }));
        self.put(after, Happening::Start);
        Ok(())
    }

    /// The process stands still; messages pile up.
    pub(super) fn freeze(&mut self) {
        let most = *self.chance.weighted(&[(4, 2_000), (2, 20_000), (1, 400_000)]);
        let until = self.now.plus(Millis(self.chance.between(500, most)));
        if let Some(process) = &mut self.process {
            process.frozen_until = until;
            self.count("freeze");
        }
    }

    /// The wall clock is set forward while the process runs.
    pub(super) fn jump(&mut self) {
        let by = *self.chance.weighted(&[(2, 6_000), (2, 60_000), (1, 3_600_000)]);
        if let Some(process) = &mut self.process {
            process.skew += by;
            self.count("jump");
        }
        // The real thread takes a turn twice a second, whatever was due.
        self.wake(Millis(500));
    }

    /// It goes on at once.
    pub(super) fn thaw(&mut self) {
        if let Some(process) = &mut self.process {
            process.frozen_until = self.now;
        }
        self.wake(Millis(0));
    }

    /// A message reaches the brain.
    pub(super) fn reach(&mut self, life: u32, event: Event) {
        if life != self.life {
            return;
        }
        if let Event::WorkerLeft { worker } = &event
            && self.workers.values().any(|known| known.id == *worker && known.is_reachable)
        {
            // Its desk has heard of it meanwhile, and says nothing: one that is taken for gone joins again when it calls.
            return;
        }
        let Some(process) = &mut self.process else { return };
        if matches!(event, Event::WorkerJoined { .. } | Event::WorkerLeft { .. }) {
            self.checkers.workers_moved();
        }
        let is_work = matches!(
            event,
            Event::AttemptStarted { .. }
                | Event::AttemptRenewed { .. }
                | Event::AttemptEnded(_)
                | Event::AlertDelivered { .. }
                | Event::AlertFailed(_)
                | Event::WorkerJoined { .. }
                | Event::WorkerLeft { .. }
        );
        if is_work {
            process.inbox.work.push(event);
        } else {
            process.inbox.control.push(event);
        }
        let after = Millis(self.chance.between(0, 2));
        self.wake(after);
    }

    /// The store's word arrives.
    pub(super) fn store_answers(&mut self, life: u32) -> Checked {
        if life != self.life || self.process.is_none() {
            return Ok(());
        }
        let Some((report, durable)) = self.disk.answer()? else { return Ok(()) };
        if let Some(batch) = durable {
            self.checkers.committed(&batch)?;
        }
        self.note(|| format!("store {}", told(&report)));
        if let StoreReport::Loaded(loaded) = &report {
            self.checkers.loaded(loaded)?;
        }
        if let Some(process) = &mut self.process {
            if matches!(report, StoreReport::Loaded(_)) {
                process.loaded_at = process.clock(self.now);
            }
            process.inbox.store = Some(report);
        }
        self.wake(Millis(0));
        Ok(())
    }

    /// Makes sure that there is a turn no later than in so long.
    fn wake(&mut self, after: Millis) {
        let Some(process) = &mut self.process else { return };
        let at = self.now.plus(after).max(process.frozen_until);
        if process.turn.is_some_and(|(earlier, _)| earlier <= at && earlier >= process.frozen_until) {
            return;
        }
        if let Some(later) = process.turn.take() {
            self.agenda.remove(&later);
        }
        self.next_entry += 1;
        process.turn = Some((at, self.next_entry));
        self.agenda.insert((at, self.next_entry), Happening::Turn);
    }

    /// One turn of the real driver.
    pub(super) fn turn(&mut self) -> Checked {
        let entropy = self.chance.bits();
        let Some(process) = &mut self.process else { return Ok(()) };
        process.turn = None;
        if self.now < process.frozen_until {
            self.wake(Millis(0));
            return Ok(());
        }
        let mut inputs = std::mem::take(&mut process.inbox);
        process.turns = match process.turns {
            (at, many) if at == self.now && inputs.is_empty() => (at, many + 1),
            _ => (self.now, 0),
        };
        if process.turns.1 > TURNS_AT_ONCE_MAX {
            return Err(format!("the driver takes turn after turn at one moment: {:?}", process.driver));
        }
        // Now and then the machine is so slow that a turn does hardly anything.
        if !self.is_large {
            inputs.pace = Pace(*self.chance.weighted(&[(3, Pace::default().0), (1, 100), (1, 1)]));
        }
        let heard = (inputs.control.len(), inputs.work.len());
        let turn = process.driver.turn(process.clock(self.now), entropy, inputs);
        self.note(|| format!("turn {}+{} → {}", heard.0, heard.1, seen(&turn)));
        self.follow(turn)
    }

    /// Does what a turn asks for, as long as nothing kills the process on the way.
    fn follow(&mut self, turn: Turn) -> Checked {
        for text in panics::take() {
            self.note(|| format!("panic: {}", text.replace('\n', " ")));
            if !text.contains("planted: ") {
                return Err(format!("the brain failed: {text}"));
            }
        }
        if let Some(process) = &self.process {
            leases_had_a_term(&turn.history, process.loaded_at)?;
        }
        for _ in turn.history.iter().filter(|line| lease_ran_out(line)) {
            self.count("lease ran out");
        }
        if let Some(request) = turn.store {
            self.ask_store(request)?;
        }
        for effect in turn.effects {
            if self.faults.crashes_here(&mut self.chance) {
                self.note(|| "dies before an effect".to_owned());
                return self.crash();
            }
            self.checkers.effect(&effect)?;
            self.perform(effect)?;
        }
        if let Some(fatal) = turn.fatal {
            self.note(|| format!("fatal {fatal}"));
            self.count("fatal");
            return match fatal {
                Fatal::Fenced(_) => self.crash(),
                // The store refused the very repair, by a fault of ours.
                Fatal::Beyond(cause) if cause == PLANTED => self.crash(),
                other => Err(format!("the driver gives up: {other}")),
            };
        }
        self.judge_turn(turn.next_wake)?;
        let now = self.brain_now();
        if let Some(at) = turn.next_wake {
            self.wake(at.since(now));
        }
        Ok(())
    }

    fn ask_store(&mut self, request: StoreRequest) -> Checked {
        let (fate, after) = self.faults.fate(&mut self.chance);
        match &request {
            StoreRequest::Commit(batch) => {
                let Some(process) = &self.process else { return Ok(()) };
                // A whole state of thousands of rows is compared now and then only.
                if !self.is_large || batch.commit.0 % 50 == 0 {
                    self.checkers.closed(process.driver.state(), batch)?;
                }
            }
            StoreRequest::Resolve => self.count("resolve"),
            StoreRequest::Load => self.count("reload"),
        }
        if fate != Fate::Done {
            self.note(|| format!("store will be {fate:?}"));
        }
        self.disk.ask(request, fate)?;
        self.put(after, Happening::StoreAnswers { life: self.life });
        Ok(())
    }

    /// What must hold after a turn that left nothing to do.
    fn judge_turn(&mut self, next_wake: Option<Timestamp>) -> Checked {
        let Some(process) = &self.process else { return Ok(()) };
        let (now, state) = (process.clock(self.now), process.driver.state());
        self.peak_tasks = self.peak_tasks.max(state.live_tasks());
        let is_idle = process.driver.is_idle(now) && next_wake.is_none_or(|at| at > now);
        if is_idle && !self.is_large {
            nothing_is_left_standing(state, now)?;
            nobody_waits_in_vain(state, now)?;
        }
        if is_idle && self.faults.is_over {
            runs_are_in_time(state, now, process.clock(self.quiet_since), GRACE)?;
        }
        Ok(())
    }

    /// Performs an effect: it goes to its worker or its caller.
    fn perform(&mut self, effect: Effect) -> Checked {
        match effect {
            Effect::Start(assignment) => {
                self.note(|| format!("start {} {:?} at {}", assignment.attempt, assignment.fence, assignment.worker));
                let worker = assignment.worker.clone();
                // What an earlier boot had is lost: the desk of this one would have to look very closely.
                if worker.is_local() && self.workers.get(&*worker.name).is_none_or(|local| local.id != worker) {
                    return Err(format!("{} is given to {worker}, which is gone", assignment.attempt));
                }
                self.send(&worker, Call::Given(assignment));
            }
            Effect::Stop { worker, attempt, fence, reason } => {
                self.note(|| format!("stop {attempt} {reason:?}"));
                self.send(&worker, Call::Stopped((attempt, fence)));
            }
            // Its worker may be as slow about it as about a stop.
            Effect::Kill { worker, attempt, fence } => {
                self.note(|| format!("kill {attempt}"));
                self.send(&worker, Call::Stopped((attempt, fence)));
            }
            Effect::Acknowledge { attempt, fence, .. } => self.acknowledge((attempt, fence)),
            Effect::Notify(notice) => self.notify(*notice),
            Effect::GiveUpAlert { key, target, why } => {
                self.note(|| format!("give up {key} at {target:?}: {why}"));
                self.count("alert given up");
            }
            Effect::Reply { caller, answer } => self.answered(caller, answer)?,
        }
        Ok(())
    }
}

fn told(report: &StoreReport) -> String {
    match report {
        StoreReport::Loaded(loaded) => format!("loaded {} rows, commit {}", loaded.rows.len(), loaded.commit.0),
        other => format!("{other:?}"),
    }
}

fn seen(turn: &Turn) -> String {
    let store = match &turn.store {
        Some(StoreRequest::Commit(batch)) => format!("commit {} of {} rows", batch.commit.0, batch.changes.len()),
        Some(other) => format!("{other:?}"),
        None => "-".to_owned(),
    };
    format!("{store}, {} effects, wake {:?}", turn.effects.len(), turn.next_wake.map(|at| at.0))
}
