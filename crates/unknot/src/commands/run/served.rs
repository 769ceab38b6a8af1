//! `unknot run FLOW` where a server owns the data folder: the run is the server's, and followed here.

use super::Session;
use crate::{
    calls::Beside,
    config::nicer,
    error::Error,
    exit::Exit,
    follow::{Follow, Left, OnInterrupt},
    looking::Looking,
    progress::{Progress, View},
    remote::Remote,
    signals::Interrupts,
    teller::Teller,
    workflow,
};
use serde_json::Value;
use std::path::Path;
use unknot_api::rest::{RunRequest, WorkflowChoice};
use unknot_engine::{
    Clock,
    core::{RunId, Timestamp},
};

impl Session {
    /// Submits to the server, or finds the run that goes on there, and follows it to its end.
    pub(super) fn at_server(
        &self,
        server: &Remote,
        interrupts: &Interrupts,
        teller: &mut Teller<'_>,
    ) -> Result<Exit, Error> {
        let data = nicer(&self.config.data).display().to_string();
        teller.line("data", &format!("{data} (owned by a server: the run goes there)"))?;
        if let Some(ended) = &self.choice.ended {
            return self.repeat(ended, teller);
        }
        let clock = Clock::starting_at_least(Timestamp::default());
        let (run, resumed) = match &self.choice.resume {
            Some(run) => (run.id, true),
            None => self.submit_to(server)?,
        };
        let now = clock.now();
        let mut progress = Progress::new(run, self.checked.definition.clone(), now);
        if resumed {
            Looking::open(&self.config)?.take_over(&mut progress)?;
        }
        self.tell(&progress, now, teller)?;
        // What was told of the past is told again by the server, from the beginning.
        let progress = Progress::new(run, self.checked.definition.clone(), now);
        let view = View::new(teller.is_json, &progress, Some(&self.config.data), now);
        let mut follow = Follow::start(server, progress, view, clock, OnInterrupt::Cancel)?;
        match follow.until_the_end(interrupts, teller)? {
            Left::Ended => self.sum_up(run, Exit::Success, teller),
            Left::Detached => {
                let option = self.config.data_option();
                let note =
                    format!("{run} is left to the server: `unknot show {run}{option}`, `unknot cancel {run}{option}`");
                teller.line("note", &note)?;
                Ok(Exit::Killed)
            }
        }
    }

    /// Makes the run at the server; says whether it was there, under the key.
    fn submit_to(&self, server: &Remote) -> Result<(RunId, bool), Error> {
        let flow = Path::new(&self.source);
        let document = workflow::as_json(flow, &self.config, &self.checked)?;
        let mut request = RunRequest::of(WorkflowChoice::Inline(document));
        request.source = Some(self.source.clone());
        request.calls = Beside::new(flow, &self.config, &self.checked).documents()?;
        if let Value::Object(input) = &self.input {
            request.input.clone_from(input);
        }
        let key = self.key.as_ref().map(|key| key.key.as_str());
        let attempt = format!("submit `{}`", nicer(flow).display());
        let created = server.ask(attempt, server.client().submit(&request, key, None))?;
        let run =
            created.run_id.parse().map_err(|_| Error::NoSuchRun { given: created.run_id, place: server.place() })?;
        Ok((run, created.existing))
    }
}
