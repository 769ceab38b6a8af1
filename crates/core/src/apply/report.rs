//! What the monitor found: kept and told, if it still stands.

use crate::{
    alert::Incident,
    deadlock::{Deadlock, VerdictId},
    effect::Answer,
    event::{Caller, Findings},
    monitor::Found,
    row::{Detail, HistoryKind, Key, Row},
    step::Step,
};

impl Step<'_> {
    /// Keeps new verdicts about what has not moved since they were made, and says of others that they are over.
    pub(crate) fn report(&mut self, findings: &Findings, caller: Caller) {
        findings.found.iter().for_each(|found| self.keep_finding(found));
        findings.over.iter().for_each(|over| self.end_verdict(over));
        findings.calm.iter().for_each(|(finding, run)| self.end_incident(&Incident::stuck_key(*finding, *run)));
        self.reply(caller, Ok(Answer::Done));
    }

    /// Keeps a verdict about those tasks of a run that stand as they did, if there are any.
    fn keep_finding(&mut self, found: &Found) {
        let Some(verdict) = found.verdict(self.state, self.now) else { return };
        let verdict = Deadlock { seq: self.next_seq(), ..verdict };
        self.keep_verdict(verdict);
    }

    /// Those that a verdict is about have moved.
    fn end_verdict(&mut self, over: &Deadlock) {
        if !over.kind.is_proved() {
            for run in over.runs() {
                let told = Detail::of("verdict", VerdictId(over.seq).to_string()).with("kind", over.kind.word());
                self.record(run, HistoryKind::StallEnded, told);
            }
        }
        let over = Deadlock { ended_at: Some(self.now), ..over.clone() };
        self.decision.written.push((Key::Deadlock(over.seq), Some(Row::Deadlock(Box::new(over)))));
    }
}
