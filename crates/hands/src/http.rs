//! Performing an `http` attempt: one request, the redirects it follows, and its answer.
//!
//! - `target`: where a request goes, and where a redirect leads. `headers`: what it says of itself.
//! - `connect`: name, TCP, TLS. `exchange`: the request and the answer's headers on one connection.
//! - `body`: what is kept of an answer, in memory or in a file. `answer`: what that means for the task.
//! - `post`: a request of the program's own, made of the same parts.
//! - `trace`: the line of the log that each hop gets.
//!
//! Each wait has a clock, and the attempt's own time bounds them all. Nothing here runs in a task of its own: a
//! connection is polled by whoever waits for it, so an attempt that is stopped is dropped, and with it all it has.
//! Connections are never kept for the next request: one that died meanwhile would cost a try, or hang it.

mod answer;
mod body;
mod connect;
mod exchange;
mod failure;
mod headers;
mod post;
mod target;
mod trace;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use unknot_api::work::{Assignment, End, HttpWork, Outcome, Report, ReportBody, StopReason};

pub use self::post::{Post, PostClocks, PostError, Posted, post};
pub use self::target::{AddressError, check_address};

use self::answer::Answer;
use self::body::Body;
use self::exchange::{Exchange, Head};
use self::failure::Failure;
use self::headers::Outgoing;
use self::target::Target;
use self::trace::Trace;
use crate::artifacts::ARTIFACTS_FOLDER;
use crate::exec::{Bench, Told, asked_to_stop, prepare};
use crate::lease;
use crate::log::LogWriter;

/// How often an attempt is reported to live.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Stands for "not before the attempt's other deadlines".
const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Performs one attempt to its very end; the end is returned, all else is reported on the way.
pub(crate) async fn perform(
    bench: Arc<Bench>,
    assignment: Arc<Assignment>,
    work: HttpWork,
    Told { mut wishes, mut lease }: Told,
) -> End {
    let began = Instant::now();
    if let Some(reason) = wishes.borrow().reason() {
        return End::new(Outcome::Stopped { reason }, bench.clock.now_ms());
    }
    let folder = bench.data_dir.join(&assignment.folder);
    if let Err(failure) = prepare(folder.clone(), None).await {
        return End::new(failure.into(), bench.clock.now_ms());
    }
    let mut log = bench.logs.open(folder.clone()).await;
    report(&bench, &assignment, ReportBody::Started { pid: None, at_ms: bench.clock.now_ms() }).await;
    let mut trace = Trace::default();
    let deadline = began + Duration::from_millis(assignment.hard_deadline_ms_from_start).min(FAR);
    let outcome = {
        let key = &assignment.idempotency_key;
        let talk = Talk { work: &work, key, folder: folder.join(ARTIFACTS_FOLDER), now_ms: bench.clock.now_ms() };
        let talking = talk.perform(&mut trace, &mut log);
        tokio::select! {
            biased;
            reason = asked_to_stop(&mut wishes) => Outcome::Stopped { reason },
            () = lease::lost(&mut lease) => Outcome::Stopped { reason: StopReason::LeaseLost },
            () = sleep_until(deadline) => Outcome::Stopped { reason: StopReason::TimedOut },
            outcome = talking => outcome,
            never = keep_alive(&bench, &assignment) => match never {},
        }
    };
    if let Outcome::Stopped { .. } = outcome {
        log.write(trace.line("stopped").as_bytes()).await;
    }
    let mut end = End::new(outcome, bench.clock.now_ms());
    end.notes = log.close().await;
    end
}

/// Says that the attempt lives, for as long as it does: its own clocks, not its silence, say when it has hung.
async fn keep_alive(bench: &Bench, assignment: &Assignment) -> std::convert::Infallible {
    let mut ticks = interval(PROGRESS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let body = ReportBody::Progress { at_ms: bench.clock.now_ms(), output_bytes: 0 };
        let report = Report { attempt: assignment.attempt.clone(), fence: assignment.fence, body };
        // It may be lost by its definition, so it never waits.
        bench.reports.try_send(report).unwrap_or_default();
    }
}

async fn report(bench: &Bench, assignment: &Assignment, body: ReportBody) {
    let report = Report { attempt: assignment.attempt.clone(), fence: assignment.fence, body };
    // Fails only if the worker's loop is gone, and with it everybody who would want to know.
    bench.reports.send(report).await.unwrap_or_default();
}

/// All that one attempt says and hears.
struct Talk<'a> {
    work: &'a HttpWork,
    /// The idempotency key.
    key: &'a str,
    /// Where a long body goes.
    folder: PathBuf,
    now_ms: u64,
}

impl Talk<'_> {
    async fn perform(&self, trace: &mut Trace, log: &mut LogWriter) -> Outcome {
        match self.talk(trace, log).await {
            Ok(outcome) => outcome,
            Err(failure) => {
                log.write(trace.line(&failure.message).as_bytes()).await;
                failure.into()
            }
        }
    }

    /// Sends the request, follows redirects, and takes the answer.
    async fn talk(&self, trace: &mut Trace, log: &mut LogWriter) -> Result<Outcome, Failure> {
        let mut target = Target::parse(&self.work.url)?;
        let mut outgoing = Outgoing::of(self.work, self.key)?;
        for hops_left in (0..=self.work.redirects_max).rev() {
            trace.begin(&outgoing.method, &target);
            let stream = connect::connect(&target, self.work.timeouts.connect_ms, trace).await?;
            let (exchange, head) = self.ask(stream, &outgoing, &target, trace).await?;
            let Some(location) = self.redirect(&head) else {
                return self.take(exchange, head, &target, trace, log).await;
            };
            // Its body is of no use to anybody; the connection goes with it.
            drop(exchange);
            let next = target.redirected(location)?;
            log.write(trace.line(&format!("{}, to {next}", answer::status_text(head.status))).as_bytes()).await;
            if hops_left == 0 {
                return Err(Failure::redirect(format!("more than {} redirects", self.work.redirects_max)));
            }
            outgoing.follow(head.status, target.is_same_origin(&next));
            target = next;
        }
        // The range above always has its 0.
        Err(Failure::redirect("too many redirects".to_owned()))
    }

    async fn ask(
        &self,
        stream: connect::Stream,
        outgoing: &Outgoing,
        target: &Target,
        trace: &mut Trace,
    ) -> Result<(Exchange, Head), Failure> {
        trace.enter("headers");
        let request = outgoing.request(target)?;
        let limit_ms = self.work.timeouts.headers_ms;
        let asked = exchange::ask(stream, request);
        failure::within(limit_ms, asked, || {
            Failure::answer(format!("{target} sent no headers within {}", trace::length(limit_ms)))
        })
        .await
    }

    /// Where the answer sends us, if it does and we may go there.
    fn redirect<'h>(&self, head: &'h Head) -> Option<&'h hyper::header::HeaderValue> {
        let redirects = [
            StatusCode::MOVED_PERMANENTLY,
            StatusCode::FOUND,
            StatusCode::SEE_OTHER,
            StatusCode::TEMPORARY_REDIRECT,
            StatusCode::PERMANENT_REDIRECT,
        ];
        let is_answer = answer::is_expected(self.work, head.status) || self.work.redirects_max == 0;
        let is_redirect = redirects.contains(&head.status) && !is_answer;
        head.headers.get(hyper::header::LOCATION).filter(|_| is_redirect)
    }

    /// Takes the body of an answer and makes of both what they mean for the task.
    async fn take(
        &self,
        mut exchange: Exchange,
        head: Head,
        target: &Target,
        trace: &mut Trace,
        log: &mut LogWriter,
    ) -> Result<Outcome, Failure> {
        trace.enter("body");
        let is_expected = answer::is_expected(self.work, head.status);
        let mut body = Body::new(self.folder.clone());
        let most = if is_expected { self.work.body_bytes_max } else { body::ERROR_BYTES_MAX };
        let read = body.read(&mut exchange, self.work.timeouts, most, target).await;
        drop(exchange);
        let answer = Answer { head: &head, target, now_ms: self.now_ms };
        let status = answer::status_text(head.status);
        if !is_expected {
            // The status has said it all; what came of the body is for people.
            log.write(trace.line(&status).as_bytes()).await;
            log.write(&body.excerpt()).await;
            return Ok(answer.failure().into());
        }
        read?;
        log.write(trace.line(&format!("{status}, {} bytes", body.bytes())).as_bytes()).await;
        let output = answer.output(self.work.output, body).await?;
        Ok(Outcome::Succeeded { output })
    }
}

/// Whether asking again changes nothing over there, by the method's definition.
fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method)
}
