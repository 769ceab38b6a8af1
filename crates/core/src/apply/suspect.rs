//! Attempts that may outlive their lease: what waits for word of them.

use super::attempt::{MESSAGE_MAX, cut};
use crate::{
    AttemptId, Fence, TaskId,
    event::{AttemptEnd, Outcome},
    row::{Detail, Key},
    run::WaitOn,
    settings::{Poison, Pool, Suspect},
    step::Step,
};
use std::collections::BTreeMap;

impl Step<'_> {
    /// Keeps in mind that an attempt may outlive its lease: its task's next try waits for word that it is gone,
    /// and the pools are closed whose units it holds.
    pub(crate) fn suspect(&mut self, id: TaskId, message: &str) {
        let Some(lease) = self.task(id).and_then(|task| task.lease()) else { return };
        let names: Vec<String> = lease.holds.keys().cloned().collect();
        let task_name = self.definition(id.run).task(id.index).name.to_string();
        let suspect = Suspect { fence: lease.fence, worker: lease.worker.clone(), task_name };
        let attempt = id.attempt(self.task(id).map_or(0, |task| task.attempts));
        if self.may_try_again(id) {
            let suspect = Box::new(suspect.clone());
            self.update_task(id, |task| task.suspect = Some(suspect));
        }
        for name in names {
            if let Some(pool) = self.state.pools.get_mut(&name) {
                let message = format!("`{attempt}` held it and may still be alive: {}", cut(message, MESSAGE_MAX));
                let since = self.now;
                let poison = pool.poisoned.get_or_insert(Poison { message, since, suspects: BTreeMap::new() });
                poison.suspects.insert(attempt, suspect.clone());
                self.touch(Key::Pool(name));
            }
        }
        self.state.volatile.ready.review();
    }

    /// A report that counts for nothing else still tells that the attempt is gone: the next try waits no more,
    /// and pools that were closed because of it open again.
    pub(crate) fn clear_suspect(&mut self, end: &AttemptEnd) {
        let is_gone = !matches!(end.outcome, Outcome::Unkillable { .. } | Outcome::Lost { confirmed_dead: false, .. });
        if is_gone {
            self.confirm(end.attempt, end.fence);
        }
        let suspect = |pool: &Pool| {
            let suspects = pool.poisoned.as_ref().map(|poison| &poison.suspects);
            suspects.and_then(|suspects| suspects.get(&end.attempt)).is_some_and(|suspect| suspect.fence == end.fence)
        };
        let freed = self.state.pools.iter().filter(|(_, pool)| is_gone && suspect(pool)).map(|(name, _)| name.clone());
        for name in freed.collect::<Vec<_>>() {
            let Some(pool) = self.state.pools.get_mut(&name) else { continue };
            pool.poisoned = pool.poisoned.take().and_then(|poison| poison.without(end.attempt));
            self.state.volatile.pool_changed(&name);
            self.touch(Key::Pool(name));
        }
    }

    /// A task's last attempt is gone, after all: its next try follows after the pause that it would have had.
    fn confirm(&mut self, attempt: AttemptId, fence: Fence) {
        let id = attempt.task;
        let Some(task) = self.task(id).filter(|task| task.attempts == attempt.number) else { return };
        if task.suspect.as_ref().is_none_or(|suspect| suspect.fence != fence) || self.is_frozen(id.run) {
            return;
        }
        let waits = task.wait().is_some_and(|wait| wait.on == WaitOn::Confirmation);
        let error = task.error.as_deref().cloned();
        self.update_task(id, |task| task.suspect = None);
        if let (true, Some(error)) = (waits, error) {
            let pause = self.pause_after(id, &error.reason);
            self.retry_after(id, error, pause, Detail::NONE);
        }
    }
}
