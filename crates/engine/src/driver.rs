//! The driver: turns inputs into batches, and lets effects out only once their batch is durable.
//!
//! Data in, data out: no threads, no channels, no waits and no clock. `threads.rs` runs it in the
//! program, the simulator calls it in a world of its own, and both run exactly this code.
//!
//! One commit is in flight at a time. While it is, the driver applies the next batch (bounded), whose
//! effects wait for their own commit. A commit that is *refused* is tried again, unchanged, and nothing
//! new is applied meanwhile. One that is *violated*, or a panic in the brain, drops the state: it is
//! loaded anew and the events since are applied one a commit; an event that then fails alone goes into
//! quarantine, and the run that it came from is frozen.

#[cfg(feature = "plant")]
pub mod plant;
mod recover;
mod replay;

use std::{
    collections::{BTreeMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use unknot_core::{
    CommitSeq, Decision, Millis, State, Timestamp, apply, check,
    effect::Effect,
    event::{Envelope, Event},
    row::{Batch, HistoryEntry, Key, Loaded, Row},
    settings::Bounds,
};

pub use recover::{Fatal, examined};

/// Events of the control lane that one turn applies at most.
const CONTROL_QUANTUM: usize = 64;
/// Events of the work lane that one turn applies at most.
const WORK_QUANTUM: usize = 512;
/// Deadlines and continuations that one turn meets at most.
const DUE_QUANTUM: usize = 256;
/// Row changes from which on a batch is closed to further events: while it is full, what arrives waits for the
/// store, so it takes no longer than that should be.
const BATCH_CHANGES_MAX: usize = 2_048;
/// A turn that comes so much later than it was due was held up from outside, or the clock was set forward.
const SKIP_LEAST: Millis = Millis(5_000);
/// Pauses between tries of a refused commit double from here …
const RETRY_FIRST: Millis = Millis(50);
/// … up to here.
const RETRY_MAX: Millis = Millis(5_000);

/// How much one turn may do, in changed rows: what it was given beyond that waits for the next. Whoever runs the
/// driver measures how long turns take; the driver has no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace(pub usize);

/// As much as a batch may hold.
impl Default for Pace {
    fn default() -> Self {
        Self(BATCH_CHANGES_MAX)
    }
}

/// What a turn is given.
#[derive(Debug, Default)]
pub struct Inputs {
    /// Commands and operators' wishes, in order of arrival; no more than [`Driver::room`] at a time.
    pub control: Vec<Event>,
    /// Workers' reports, in order of arrival.
    pub work: Vec<Event>,
    /// What became of the commit in flight, or of the load that was asked for.
    pub store: Option<StoreReport>,
    /// How much the turn may do.
    pub pace: Pace,
}

impl Inputs {
    /// Whether nothing arrived.
    pub fn is_empty(&self) -> bool {
        self.control.is_empty() && self.work.is_empty() && self.store.is_none()
    }
}

/// What the store says.
#[derive(Debug)]
pub enum StoreReport {
    /// The commit in flight is durable.
    Committed,
    /// It was refused and left no trace; it can be tried again.
    Refused(String),
    /// Its connection was lost: it may be durable or not. The driver asks for [`StoreRequest::Resolve`].
    Unknown(String),
    /// The newest durable commit, as asked for after `Unknown`.
    Resolved(CommitSeq),
    /// It contradicts what is stored.
    Violated(String),
    /// Somebody else owns the namespace now.
    Fenced(String),
    /// The store is damaged.
    Corrupt(String),
    /// The rows, as asked for by [`StoreRequest::Load`].
    Loaded(Box<Loaded>),
    /// They can not be read for now; the driver asks again.
    Unloaded(String),
}

/// What the driver asks of the store; one request at a time.
#[derive(Debug, Clone)]
pub enum StoreRequest {
    /// Make this batch durable.
    Commit(Arc<Batch>),
    /// Say which commit is the newest durable one.
    Resolve,
    /// Load everything anew.
    Load,
}

/// What a turn leads to.
#[derive(Debug, Default)]
pub struct Turn {
    /// What to ask of the store now.
    pub store: Option<StoreRequest>,
    /// Effects whose commit is durable, in order.
    pub effects: Vec<Effect>,
    /// History that became durable, in order.
    pub history: Vec<HistoryEntry>,
    /// What it did, by the measure of [`Pace`].
    pub done: usize,
    /// When to call again if nothing arrives before.
    pub next_wake: Option<Timestamp>,
    /// The brain can not go on; the process must stop or hand over.
    pub fatal: Option<Fatal>,
}

/// Why nothing can be committed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Since when.
    pub since: Timestamp,
    /// What the store said last.
    pub cause: String,
}

/// The brain with its batches. See the module's documentation.
#[derive(Debug)]
pub struct Driver {
    state: State,
    control: VecDeque<Event>,
    work: VecDeque<Event>,
    /// The batch that is being built.
    open: Open,
    /// The batch whose commit is under way, with what follows from it.
    in_flight: Option<InFlight>,
    durable: CommitSeq,
    phase: Phase,
    recovery: replay::Recovery,
    /// What this turn has done, by the measure of [`Pace`].
    done: usize,
    /// The last turn, and when the next was due at the latest.
    last_turn: Option<(Timestamp, Option<Timestamp>)>,
    /// Since when nobody could be heard, until the brain knows.
    unheard_since: Option<Timestamp>,
}

/// Where the driver stands with its store.
#[derive(Debug)]
enum Phase {
    /// Applying and committing.
    Going,
    /// A commit was refused.
    Retrying(Retry),
    /// A commit's fate is being asked for.
    Resolving(Retry),
    /// The state is being loaded anew; with a retry: it could not be.
    Loading(Option<Retry>),
    /// It can not go on.
    Stopped(Fatal),
}

/// What the store is asked for again and again, with growing pauses.
#[derive(Debug)]
struct Retry {
    blocked: Blocked,
    /// When it is asked again; never while its answer is awaited.
    at: Timestamp,
    pause: Millis,
}

#[derive(Debug, Default)]
struct Open {
    touched: BTreeMap<Key, Option<Option<Row>>>,
    events: Vec<(Lane, Event)>,
    history: Vec<HistoryEntry>,
    effects: Vec<Effect>,
}

#[derive(Debug)]
struct InFlight {
    /// When the store was first asked for it.
    since: Timestamp,
    batch: Arc<Batch>,
    events: Vec<(Lane, Event)>,
    effects: Vec<Effect>,
}

/// Where an event comes from, and where it goes back to if its batch is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// The driver itself: what it noticed, and what puts a failure aside. Comes before all others.
    Own,
    /// Commands.
    Control,
    /// Reports.
    Work,
    /// The state, which asks for it again after a load.
    State,
}

impl Driver {
    /// Takes over a loaded namespace.
    ///
    /// # Errors
    /// If its rows contradict each other.
    pub fn new(loaded: Loaded, bounds: Bounds) -> Result<Self, unknot_core::state::LoadError> {
        let durable = loaded.commit;
        Ok(Self {
            state: examined(loaded, bounds)?,
            control: VecDeque::new(),
            work: VecDeque::new(),
            open: Open::default(),
            in_flight: None,
            durable,
            phase: Phase::Going,
            recovery: replay::Recovery::default(),
            done: 0,
            last_turn: None,
            unheard_since: None,
        })
    }

    /// The state as it is now: possibly ahead of what is durable.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The newest durable commit.
    pub fn durable(&self) -> CommitSeq {
        self.durable
    }

    /// Why nothing can be committed, if so.
    pub fn blocked(&self) -> Option<&Blocked> {
        match &self.phase {
            Phase::Retrying(retry) | Phase::Resolving(retry) | Phase::Loading(Some(retry)) => Some(&retry.blocked),
            Phase::Going | Phase::Loading(None) | Phase::Stopped(_) => None,
        }
    }

    /// Events that have arrived and are not applied yet.
    pub fn backlog(&self) -> usize {
        self.control.len() + self.work.len() + self.recovery.own_len()
    }

    /// How many commands it takes now: as many as a turn applies. The others are better left where they count
    /// against their lane's bound.
    pub fn room(&self) -> usize {
        CONTROL_QUANTUM.saturating_sub(self.control.len())
    }

    /// Whether everything that arrived or was due by `now` is applied, and the state is to be trusted.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        self.is_going() && !self.recovery.is_replaying() && self.backlog() == 0 && self.due_event(now).is_none()
    }

    /// Whether, beyond that, everything applied is durable.
    pub fn is_settled(&self) -> bool {
        self.is_going() && !self.recovery.is_replaying() && self.backlog() == 0 && self.in_flight.is_none()
    }

    /// One turn: takes what arrived, applies a bounded part of what is due, closes a batch if the store
    /// is free. `entropy` seeds the turn's chance.
    pub fn turn(&mut self, now: Timestamp, entropy: u64, inputs: Inputs) -> Turn {
        let mut turn = Turn::default();
        self.notice_skip(now);
        self.control.extend(inputs.control);
        self.work.extend(inputs.work);
        if let Some(report) = inputs.store {
            self.take_report(now, report, &mut turn);
        }
        if self.is_going() {
            self.apply_due(now, &mut Chance(entropy), inputs.pace);
            self.close_batch(now, &mut turn);
        }
        self.load_if_wanted(&mut turn);
        self.retry_if_due(now, &mut turn);
        if let Phase::Stopped(fatal) = &self.phase {
            turn.fatal = Some(fatal.clone());
        }
        turn.done = std::mem::take(&mut self.done);
        turn.next_wake = self.next_wake(now);
        self.last_turn = Some((now, turn.next_wake));
        turn
    }

    /// Sees from a turn that is far too late that nobody was heard meanwhile.
    fn notice_skip(&mut self, now: Timestamp) {
        let Some((last, Some(due))) = self.last_turn else { return };
        if now.since(due) > SKIP_LEAST {
            self.unheard_since.get_or_insert(last);
        }
    }

    /// Applies the control lane, the work lane, deadlines and continuations, each within its quantum and its third
    /// of the pace, and each at least once.
    fn apply_due(&mut self, now: Timestamp, chance: &mut Chance, pace: Pace) {
        let skipped = self.unheard_since.take().map(|since| Event::TimeSkipped { since });
        if self.recovery.is_replaying() {
            self.recovery.own_first(skipped);
            return self.replay_one(now, chance);
        }
        if let Some(event) = skipped {
            self.apply_event(now, chance, Lane::Own, event);
        }
        let quanta = [(Lane::Control, CONTROL_QUANTUM), (Lane::Work, WORK_QUANTUM), (Lane::State, DUE_QUANTUM)];
        for (third, (lane, quantum)) in (1..).zip(quanta) {
            for count in 0..quantum {
                let room = self.open.touched.len() < BATCH_CHANGES_MAX;
                if !room || !self.is_going() || self.recovery.is_replaying() {
                    return;
                }
                if count > 0 && self.done >= pace.0 * third / quanta.len() {
                    break;
                }
                let Some(event) = self.next_of(lane, now) else { break };
                self.apply_event(now, chance, lane, event);
            }
        }
    }

    fn next_of(&mut self, lane: Lane, now: Timestamp) -> Option<Event> {
        match lane {
            Lane::Own => self.recovery.next_own(),
            Lane::Control => self.control.pop_front(),
            Lane::Work => self.work.pop_front(),
            Lane::State => self.due_event(now),
        }
    }

    fn is_going(&self) -> bool {
        matches!(self.phase, Phase::Going) && !self.recovery.is_dropped()
    }

    /// What the state itself asks for: the earliest deadline that has passed, grants left over, the oldest
    /// continuation.
    fn due_event(&self, now: Timestamp) -> Option<Event> {
        let passed = self.state.volatile.deadlines.first().filter(|(at, _)| *at <= now);
        if let Some((_, deadline)) = passed {
            return Some(Event::DeadlinePassed(*deadline));
        }
        if let Some(seq) = self.state.continuations.keys().next() {
            return Some(Event::ContinuationDue(*seq));
        }
        self.state.volatile.grants_due.then_some(Event::GrantsDue)
    }

    /// Applies one event to the open batch. A panic drops the state and starts the recovery.
    fn apply_event(&mut self, now: Timestamp, chance: &mut Chance, lane: Lane, event: Event) {
        let commit = self.next_commit();
        let envelope = Envelope { at: now, entropy: chance.next(), commit, event };
        let state = &mut self.state;
        match catch_unwind(AssertUnwindSafe(|| apply_checked(state, &envelope))) {
            Ok(decision) => {
                self.done += decision.cost();
                self.collect((lane, envelope.event), decision);
            }
            Err(panic) => self.failed((lane, envelope.event), recover::panic_text(panic.as_ref())),
        }
    }

    fn collect(&mut self, event: (Lane, Event), decision: Decision) {
        for key in decision.touched {
            self.open.touched.insert(key, None);
        }
        for (key, row) in decision.written {
            self.open.touched.insert(key, Some(row));
        }
        self.open.history.extend(decision.history);
        self.open.effects.extend(decision.effects);
        self.open.events.push(event);
    }

    /// The commit that the open batch will be.
    fn next_commit(&self) -> CommitSeq {
        CommitSeq(self.durable.0 + 1 + u64::from(self.in_flight.is_some()))
    }

    /// Hands the open batch to the store if the store is free. A batch that changes nothing needs no
    /// commit, only the turn of those before it.
    fn close_batch(&mut self, now: Timestamp, turn: &mut Turn) {
        if self.in_flight.is_some() || !self.is_going() {
            return;
        }
        let commit = self.next_commit();
        let open = std::mem::take(&mut self.open);
        if open.touched.is_empty() && open.history.is_empty() {
            self.let_out(open.effects, turn);
            return;
        }
        let state = &self.state;
        let content = |(key, written): (Key, Option<Option<Row>>)| {
            let row = written.unwrap_or_else(|| state.row(&key));
            (key, row)
        };
        let changes = open.touched.into_iter().map(content).collect();
        self.state.close_batch();
        #[cfg(debug_assertions)]
        if self.state.live_tasks() <= check::WHOLE_CHECK_MAX {
            // The rules were asserted after its last event.
            self.check_load(commit);
        } else if commit.0.is_multiple_of(check::WHOLE_CHECK_EVERY) {
            check::whole(&self.state);
            self.check_load(commit);
        }
        let batch = Arc::new(Batch { commit, meta: self.state.meta, changes, history: open.history });
        turn.store = Some(StoreRequest::Commit(Arc::clone(&batch)));
        self.in_flight = Some(InFlight { since: now, batch, events: open.events, effects: open.effects });
    }

    /// Asserts that what a store would load after this commit is what is in memory.
    ///
    /// # Panics
    /// If it is not.
    fn check_load(&self, commit: CommitSeq) {
        check::loads_equal(&self.state, Loaded { commit, meta: self.state.meta, rows: self.state.rows() });
    }

    /// Asserts every rule at the end, unless the state is not to be trusted anyway.
    ///
    /// # Panics
    /// If a rule is broken.
    pub fn check_at_the_end(&self) {
        if self.is_settled() {
            check::whole(&self.state);
            self.check_load(self.durable);
        }
    }

    /// The commit in flight is durable: its effects may happen, its callers may know.
    fn committed(&mut self, turn: &mut Turn) {
        if let Some(done) = self.in_flight.take() {
            self.durable = done.batch.commit;
            self.let_out(done.effects, turn);
            turn.history.extend(done.batch.history.iter().cloned());
        }
        self.phase = Phase::Going;
    }

    /// Lets effects happen whose commit is durable. An attempt that is over by now is not begun: whoever came back
    /// with it may have reported its end while the start that repeats it waited for the store.
    fn let_out(&self, effects: Vec<Effect>, turn: &mut Turn) {
        let is_over = |effect: &Effect| match effect {
            Effect::Start(given) => self.state.lease_of(given.attempt, given.fence).is_none(),
            Effect::Stop { .. }
            | Effect::Kill { .. }
            | Effect::Acknowledge { .. }
            | Effect::Notify(_)
            | Effect::GiveUpAlert { .. }
            | Effect::Reply { .. } => false,
        };
        turn.effects.extend(effects.into_iter().filter(|effect| !is_over(effect)));
    }

    fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.phase {
            Phase::Retrying(retry) | Phase::Resolving(retry) | Phase::Loading(Some(retry)) => Some(retry.at),
            Phase::Loading(None) | Phase::Stopped(_) => None,
            // With a full batch or a dropped state, the store's answer comes first.
            Phase::Going if self.recovery.is_dropped() => None,
            Phase::Going if self.open.touched.len() >= BATCH_CHANGES_MAX => None,
            Phase::Going => {
                let more = self.backlog() > 0 || self.due_event(now).is_some();
                let first = self.state.volatile.deadlines.first().map(|(at, _)| *at);
                match self.recovery.is_replaying() {
                    // One event a commit: the store's answer comes first.
                    true if self.in_flight.is_some() => None,
                    true => Some(now),
                    false if more => Some(now),
                    false => first,
                }
            }
        }
    }
}

/// Applies one event and, where the state is small enough, checks every rule.
fn apply_checked(state: &mut State, envelope: &Envelope) -> Decision {
    let deadline = match &envelope.event {
        Event::DeadlinePassed(_) => state.volatile.deadlines.first().copied(),
        _ => None,
    };
    let decision = apply(state, envelope);
    #[cfg(feature = "plant")]
    plant::strike(state, &decision);
    // A deadline that is still first after it was met would be met for ever.
    assert!(
        deadline.is_none() || state.volatile.deadlines.first() != deadline.as_ref(),
        "deadline {deadline:?} passed and did not move"
    );
    #[cfg(debug_assertions)]
    {
        let rows: std::collections::BTreeSet<&Key> = decision.touched.iter().collect();
        let (rest, changes): (Vec<&Key>, Vec<&Key>) =
            rows.into_iter().partition(|key| matches!(key, Key::Continuation(_)));
        let tells = |written: &(Key, Option<Row>)| matches!(written.0, Key::Deadlock(_));
        let told = decision.written.iter().filter(|written| tells(written)).count();
        let most = state.volatile.bounds.step_changes_max + STEP_CHANGES_SLACK + told * VERDICT_CHANGES_MAX;
        assert!(
            (changes.len() <= most && rest.len() <= most) || names_its_rows(&envelope.event),
            "one event changed {} rows and left {} continuations, the bound is {most}: {:?}",
            changes.len(),
            rest.len(),
            envelope.event
        );
    }
    #[cfg(debug_assertions)]
    match state.live_tasks() <= check::WHOLE_CHECK_MAX {
        true => check::whole(state),
        false => check::touched(state, &decision),
    }
    decision
}

/// Changes that the last piece of work of a full step may still bring.
#[cfg(debug_assertions)]
const STEP_CHANGES_SLACK: usize = 32;

/// Changes that come with a verdict, which is told in the step that closes it however full that is: an alert for each run
/// among those who are named, and what is done about it.
#[cfg(debug_assertions)]
const VERDICT_CHANGES_MAX: usize = 200;

/// Whether an event itself lists rows: pools and queues of a configuration, locks of a workflow.
#[cfg(debug_assertions)]
fn names_its_rows(event: &Event) -> bool {
    matches!(event, Event::SettingsApplied(_) | Event::RunSubmitted(_))
}

/// A turn's chance: `SplitMix64`, one number an event.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
