//! What running attempts ask: to wait, to give back, to spawn, to send. The brain judges each by the attempt's lease.

use crate::{
    attempt_tokens::Right,
    calls::Called,
    driver::Driver,
    engine::{CommandError, Engine},
    remote::LeaseUnknown,
    submit::Submit,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::timeout};
use unknot_core::{
    Millis, RunId, State, Timestamp,
    effect::{Answer, WaitAnswer},
    event::{Ask, Event, Facts},
    run::{AtDeadline, Awaited, RunStatus},
    settings::PoolSettings,
    wait::{AtPool, at_pools},
    workflow::Definition,
};

/// The longest that an attempt is kept waiting for the answer to one question.
pub const WAIT_MAX: Duration = Duration::from_secs(20);
/// How long a look at the brain may take.
const LOOK_WITHIN: Duration = Duration::from_secs(2);
/// How long an answer that is decided may take to be durable.
const DURABLE_WITHIN: Duration = Duration::from_secs(1);
/// Holders, and those who wait, that are named of a pool.
const NAMED_MAX: usize = 100;

/// A wish to wait.
#[derive(Clone, Debug)]
pub struct WaitWish {
    /// The wait's name: whoever asks again under it asks for the same wait.
    pub name: String,
    /// What must hold.
    pub on: Awaited,
    /// How long at most; none: as long as the attempt has.
    pub within: Option<Millis>,
    /// What happens then.
    pub then: AtDeadline,
}

/// A running attempt and those around it.
#[derive(Clone, Debug)]
pub struct Kin {
    /// Its task's name.
    pub task: String,
    /// What its run is made of.
    pub definition: Arc<Definition>,
    /// The workflows that its run may call, by name.
    pub calls: Called,
    /// The file that its run is made from.
    pub source: Option<String>,
    /// Its run's labels.
    pub labels: BTreeMap<String, String>,
    /// Whose its run is.
    pub client_id: Option<String>,
    /// The run whose task has spawned its run.
    pub parent: Option<RunId>,
    /// The runs that its task has spawned, by key.
    pub children: BTreeMap<String, KnownChild>,
}

/// A run that a task has spawned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownChild {
    /// Which.
    pub run: RunId,
    /// How it stands.
    pub status: RunStatus,
    /// Whether it goes on when the task ends.
    pub detached: bool,
}

impl Engine {
    /// An attempt waits. Answered when the wait is over, and after `patience` (at most [`WAIT_MAX`]) that it goes on:
    /// then the same is asked again. So does whoever finds nobody here, or is answered that it is not known: the wait
    /// is there, or is begun.
    ///
    /// # Errors
    /// If it is refused, or nothing is known of it in time.
    pub async fn attempt_waits(
        &self,
        right: Right,
        wish: WaitWish,
        patience: Duration,
    ) -> Result<WaitAnswer, CommandError> {
        self.accepts()?;
        let (sender, mut answer) = oneshot::channel();
        // Fails only if nobody awaits the answer any more.
        let caller = self.shared.callers.register(Box::new(move |answered| sender.send(answered).unwrap_or_default()));
        let forget = self.forgetting(caller);
        let name = wish.name.clone();
        let WaitWish { on, within, then, .. } = wish;
        let ask = Box::new(Ask::Wait { name: name.clone(), on, within, then });
        let Right { attempt, fence } = right;
        self.shared.inbox.control(Event::AttemptAsked { attempt, fence, ask, caller })?;
        let mut answered = timeout(patience.min(WAIT_MAX), &mut answer).await;
        if answered.is_err() {
            if let Some(deadline) = self.parked_until(right, name).await {
                return Ok(WaitAnswer::Waiting { deadline });
            }
            // It has just ended, or was never begun.
            answered = timeout(DURABLE_WITHIN, answer).await;
        }
        drop(forget);
        match answered {
            Ok(Ok(Ok(Answer::Waits(answer)))) => Ok(answer),
            Ok(Ok(Err(refusal))) => Err(refusal.into()),
            Ok(Ok(Ok(_)) | Err(_)) | Err(_) => Err(self.no_answer()),
        }
    }

    /// Until when an attempt's wait of this name goes on, if it does.
    async fn parked_until(&self, right: Right, name: String) -> Option<Timestamp> {
        let look = move |driver: &Driver| {
            let parked = driver.state().lease_of(right.attempt, right.fence)?.parked.as_ref()?;
            (parked.name == name).then_some(parked.deadline)
        };
        self.peek(LOOK_WITHIN, look).await.flatten()
    }

    /// An attempt asks for something that is answered at once.
    ///
    /// # Errors
    /// As for [`Engine::command`].
    pub async fn attempt_asks(&self, right: Right, ask: Ask) -> Result<Answer, CommandError> {
        let (Right { attempt, fence }, ask) = (right, Box::new(ask));
        self.command(|caller| Event::AttemptAsked { attempt, fence, ask, caller }).await
    }

    /// An attempt spawns a run under a key; gives the run, and whether it had been spawned before.
    ///
    /// # Errors
    /// As for [`Engine::command`].
    pub async fn attempt_spawns(
        &self,
        right: Right,
        key: String,
        submit: Submit,
        detached: bool,
    ) -> Result<(RunId, bool), CommandError> {
        let (Right { attempt, fence }, new) = (right, self.new_run());
        let told = self.command(|caller| {
            let submission = Box::new(submit.submission(new, Facts::default(), caller));
            Event::AttemptAsked { attempt, fence, ask: Box::new(Ask::Spawn { key, submission, detached }), caller }
        });
        match told.await? {
            Answer::Spawned { run, existing } => Ok((run, existing)),
            _ => Ok((new, false)),
        }
    }

    /// A running attempt and those around it; none: it has its lease no more, or is being stopped.
    ///
    /// # Errors
    /// If the brain did not come to it in time: nothing is known then.
    pub async fn kin(&self, right: Right) -> Result<Option<Kin>, LeaseUnknown> {
        self.peek(LOOK_WITHIN, move |driver| kin(driver.state(), right)).await.ok_or(LeaseUnknown)
    }

    /// Makes a pool, gives it another size, or takes it away while nobody holds or wants any of it (`pool` is none).
    ///
    /// # Errors
    /// As for [`Engine::command`].
    pub async fn set_pool(&self, name: String, pool: Option<PoolSettings>) -> Result<(), CommandError> {
        self.command(|caller| Event::PoolSet { name, pool, caller }).await.map(drop)
    }

    /// Pools and locks, all or the one of this name, with who holds some and who waits for some; none: the brain did not
    /// come to it.
    pub async fn pools(&self, only: Option<String>) -> Option<BTreeMap<String, AtPool>> {
        self.peek(LOOK_WITHIN, move |driver| at_pools(driver.state(), only.as_deref(), NAMED_MAX)).await
    }
}

fn kin(state: &State, right: Right) -> Option<Kin> {
    let (attempt, task) = (right.attempt, right.attempt.task);
    let lease = state.lease_of(attempt, right.fence)?;
    let run = state.runs.get(&task.run).filter(|run| lease.stopping.is_none() && run.poisoned.is_none())?;
    let definition = state.definition(run.id);
    let called =
        run.calls.iter().filter_map(|(name, hash)| Some((Arc::clone(name), Arc::clone(state.definitions.get(hash)?))));
    let children = state.children.get(&task).into_iter().flatten();
    Some(Kin {
        task: definition.task(task.index).name.to_string(),
        calls: called.collect(),
        source: run.source.clone(),
        labels: run.labels.clone(),
        client_id: run.client_id.clone(),
        parent: run.parent.as_ref().map(|parent| parent.task.run),
        children: children
            .map(|(key, child)| {
                let begun = state.runs.get(&child.run).map(|run| run.status());
                let status = child.ended.or(begun).unwrap_or(RunStatus::Pending);
                (key.clone(), KnownChild { run: child.run, status, detached: child.detached })
            })
            .collect(),
        definition,
    })
}
