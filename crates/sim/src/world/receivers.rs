//! Those who are told of incidents: they hear it late, twice or not at all, and refuse as they like.

use super::{Happening, World};
use unknot_core::{
    Millis,
    alert::{FailedDelivery, Notice},
    event::{Event, NextTry},
};

/// The longest that it takes until a target hears something, and until it is known what came of it.
const WAY_MAX: u64 = 2_000;

impl World {
    /// A target is to be told. Whatever is on its way dies with the process.
    pub(super) fn notify(&mut self, notice: Notice) {
        self.note(|| format!("tell {} of {:?} {:?}, try {}", notice.target, notice.alert, notice.news, notice.tries));
        let after = Millis(self.chance.between(0, WAY_MAX));
        self.put(after, Happening::Told { life: self.life, notice: Box::new(notice) });
    }

    /// A target hears, or does not; the brain hears what came of it, or does not.
    pub(super) fn told(&mut self, life: u32, notice: Notice) {
        if life != self.life {
            return;
        }
        let is_deaf = self.chance.permille(self.faults.deaf);
        let is_heard = !is_deaf || self.chance.permille(300);
        if is_heard {
            self.count("alert heard");
            self.checkers.heard(&notice);
        }
        let Notice { alert, target, news, tries, .. } = notice;
        let event = match is_deaf {
            false => Event::AlertDelivered { alert, target, news },
            true => {
                self.count("alert unheard");
                let next_try = match self.chance.between(0, 3) {
                    0 => NextTry::Useless,
                    1 => NextTry::NotBefore(Millis(self.chance.between(0, 60_000))),
                    // Nothing is ever said of it.
                    2 => return,
                    _ => NextTry::AsUsual,
                };
                let error = "webhook timeout".to_owned();
                Event::AlertFailed(Box::new(FailedDelivery { alert, target, news, tries, error, next_try }))
            }
        };
        let after = Millis(self.chance.between(0, WAY_MAX));
        self.put(after, Happening::Reach { life, event });
    }
}
