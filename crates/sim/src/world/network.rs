//! Between the brain and its workers: messages that are late, lost or doubled, and workers that go and
//! come back.

use super::{Happening, World};
use crate::{
    checkers::Checked,
    hands::{Act, Call, Ghost, Right, Worker},
    workload::definition::HANDLER,
};
use unknot_core::{
    Millis,
    event::Event,
    run::WorkerId,
    settings::DEFAULT_QUEUE,
    worker::{Serves, WorkKind},
};

impl World {
    /// The brain sends something to a worker. Nothing is lost on the way to the local one.
    pub(super) fn send(&mut self, worker: &WorkerId, call: Call) {
        let ways = match worker.is_local() {
            true => vec![Millis(0)],
            false => self.faults.ways(&mut self.chance),
        };
        for after in ways {
            self.put(after, Happening::Call { worker: worker.clone(), call: call.clone() });
        }
    }

    /// A receipt goes to whoever holds the attempt; the brain does not say who that is.
    pub(super) fn acknowledge(&mut self, right: Right) {
        let ids: Vec<WorkerId> =
            self.workers.values().filter(|worker| worker.holds(right)).map(|worker| worker.id.clone()).collect();
        for id in ids {
            self.send(&id, Call::Settled(right));
        }
    }

    /// A worker hears something, or its own time has come.
    pub(super) fn call(&mut self, id: &WorkerId, call: Call) -> Checked {
        let is_message = matches!(call, Call::Given(_) | Call::Stopped(_) | Call::Settled(_) | Call::Answered(..));
        let Some(worker) = self.workers.get_mut(&*id.name).filter(|worker| worker.id == *id) else { return Ok(()) };
        if is_message && !worker.is_reachable {
            return Ok(());
        }
        let acts = worker.call(call, &self.faults.manners, &mut self.chance);
        let reaches = worker.is_reachable;
        for (after, act) in acts {
            match act {
                Act::Call(call) => self.put(after, Happening::Call { worker: id.clone(), call }),
                Act::Tell(event) if reaches => self.tell(id, after, event),
                Act::Ask(right, step, wanted) if reaches => self.ask(id, right, step, &wanted),
                Act::Tell(_) | Act::Ask(..) => {}
            }
        }
        let alive = self.workers.values().flat_map(Worker::alive);
        self.checkers.units(alive.chain(self.ghosts.iter().map(Ghost::alive)))
    }

    pub(super) fn tell(&mut self, from: &WorkerId, after: Millis, event: Event) {
        let ways = match from.is_local() {
            true => vec![Millis(0)],
            false => self.faults.ways(&mut self.chance),
        };
        for way in ways {
            self.put(after.plus(way), Happening::Reach { life: self.life, event: event.clone() });
        }
    }

    /// A remote worker dies, or can not be reached for a while. The process notices later on.
    pub(super) fn lose_a_worker(&mut self, dies: bool) {
        let remote: Vec<String> = self.workers.keys().filter(|name| *name != WorkerId::LOCAL).cloned().collect();
        if remote.is_empty() {
            return;
        }
        let name = self.chance.pick(&remote).clone();
        let noticed = Millis(self.chance.between(1_000, 40_000));
        let back = Millis(self.chance.between(500, 400_000));
        let Some(worker) = self.workers.get_mut(&name) else { return };
        let id = worker.id.clone();
        if dies {
            *worker = Worker::new(id.clone(), worker.slots);
        }
        worker.is_reachable = false;
        self.count(if dies { "worker died" } else { "partition" });
        self.note(|| format!("{id} {}", if dies { "dies" } else { "is out of reach" }));
        // Nobody may notice at all.
        if !self.chance.permille(300) {
            self.put(noticed, Happening::Reach { life: self.life, event: Event::WorkerLeft { worker: id } });
        }
        self.put(back, Happening::Return { name, reboots: dies });
    }

    /// A remote worker is in reach again, under a new boot if it had died.
    pub(super) fn bring_back(&mut self, name: &str, reboots: bool) {
        let id = if reboots { Some(self.boot(name)) } else { None };
        let Some(worker) = self.workers.get_mut(name).filter(|_| name != WorkerId::LOCAL) else { return };
        if let Some(id) = id {
            // It does not say that the boot before is gone.
            *worker = Worker::new(id.clone(), worker.slots);
            self.put(Millis(0), Happening::Call { worker: id, call: Call::Renew });
        } else {
            worker.is_reachable = true;
        }
        self.rejoin(name);
    }

    /// A remote worker offers its slots to the brain that is there now.
    pub(super) fn rejoin(&mut self, name: &str) {
        let after = Millis(self.chance.between(0, 3_000));
        let Some(worker) = self.workers.get(name).filter(|worker| worker.is_reachable) else { return };
        // One of them takes the queue of tasks that name none, and no other.
        let queues = (name == "remote-1").then(|| [DEFAULT_QUEUE.into()].into());
        // Another is the only one with the handler that some tasks call.
        let kinds = (name == "remote-0").then(|| {
            let built_in = WorkKind::BUILT_IN.into_iter();
            built_in.chain([WorkKind::Handler(HANDLER.into())]).collect()
        });
        let serves = Box::new(Serves { queues, kinds });
        let event = Event::WorkerJoined { worker: worker.id.clone(), slots: worker.slots, serves };
        self.put(after, Happening::Reach { life: self.life, event });
    }
}
