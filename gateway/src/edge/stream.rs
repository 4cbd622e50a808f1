//! Answers that come item by item: what a generator yields is on its way before the next one is made.
//!
//! The head waits for the first item, so that what fails before it is answered with its own status; events have a
//! heartbeat, and their head waits no longer than for that. Behind the head a failure is the last thing that is said.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, Version, header};
use par_pool::{
    fleet::{self, Agent, Answer, Call, Items, Outcome},
    process::Item,
};
use par_proto::code::Code;
use pingora_core::{Error, ErrorType, Result as Written};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use tokio::time::{Instant, Interval, interval_at};

use super::{
    Edge,
    accept::Form,
    ctx::Ctx,
    delivery::PIECE,
    download::{self, About, Window},
    envelope::{Wrapping, tail},
    events,
    invoke::{Success, gone, left, outcome},
    refusal::Refusal,
};

/// Time between two signs of life. What stands between us and the caller closes silent connections after a minute, some
/// after 30 s.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What came of a call.
pub(super) enum Answered {
    /// All of its result, which is to be written.
    Whole(Success),
    /// It was written item by item.
    Streamed,
    /// Some of it was written, and the rest will not come: the connection has to say so.
    Broken(Box<Error>),
}

/// How an answer is written.
#[derive(Clone, Copy)]
pub(super) struct Shape<'a> {
    pub(super) form: Form,
    /// What the envelope said, on the route that has one.
    pub(super) envelope: Option<&'a Wrapping>,
}

/// An answer on its way.
struct Writer<'a> {
    edge: &'a Edge,
    session: &'a mut Session,
    ctx: &'a mut Ctx,
    shape: Shape<'a>,
    agent: Arc<Agent>,
    /// Items so far.
    count: u64,
    begun: bool,
    /// Which bytes of a file are sent.
    window: Option<Window>,
    /// Why there is no answer but a problem.
    refusal: Option<Refusal>,
}

/// Which items the worker may send one by one; `None`: none, since the envelope holds a whole result.
pub(super) fn wanted(shape: &Shape<'_>) -> Option<fleet::Form> {
    match shape.form {
        Form::Events | Form::Lines => Some(fleet::Form::Items),
        Form::Whole if shape.envelope.is_none() => Some(fleet::Form::Pieces),
        Form::Whole => None,
    }
}

impl Edge {
    /// Makes a call and passes its items on as they come. An answer that says that the generation is over comes back as
    /// it is: nothing was written then.
    pub(super) async fn pass_on(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        (agent, shape): (&Arc<Agent>, Shape<'_>),
        call: Call,
        mut items: Items,
    ) -> Result<Result<Answered, Answer>, Refusal> {
        if shape.form != Form::Whole
            && let Some(charge) = &mut ctx.charge
        {
            charge.streams();
        }
        let mut calling = pin!(self.pool.call(agent, call));
        let agent = Arc::clone(agent);
        let (begun, window, refusal) = (false, None, None);
        let mut writer = Writer { edge: self, session, ctx, shape, agent, count: 0, begun, window, refusal };
        // Only events have one; others would pay for a timer that they never hear.
        let mut heartbeat = (writer.shape.form == Form::Events).then(heartbeat);
        let answer = loop {
            let written = tokio::select! {
                biased;
                item = items.next() => {
                    if let Some(heartbeat) = &mut heartbeat {
                        heartbeat.reset();
                    }
                    writer.items(item, &mut items).await
                }
                answer = &mut calling => break answer,
                () = left(writer.session) => Err(None),
                () = beat(heartbeat.as_mut()) => writer.piece(Bytes::from_static(events::HEARTBEAT)).await,
            };
            match written {
                Ok(()) => {}
                Err(error) => return writer.given_up(error).map(Ok),
            }
        };
        while let Some(item) = items.ready() {
            if let Err(error) = writer.items(item, &mut items).await {
                return writer.given_up(error).map(Ok);
            }
        }
        if matches!(answer.outcome, Outcome::Stopping) && !writer.begun {
            return Ok(Err(answer));
        }
        writer.end(answer).await.map(Ok)
    }
}

fn heartbeat() -> Interval {
    interval_at(Instant::now() + HEARTBEAT, HEARTBEAT)
}

async fn beat(heartbeat: Option<&mut Interval>) {
    match heartbeat {
        Some(heartbeat) => drop(heartbeat.tick().await),
        None => std::future::pending().await,
    }
}

impl Writer<'_> {
    /// Writes an item and what is behind it already, and lets the worker send as much again.
    async fn items(&mut self, first: Item, behind: &mut Items) -> Result<(), Option<Box<Error>>> {
        if let Some(started) = behind.started() {
            (self.ctx.queued, self.ctx.pid) = (started.queued, started.pid);
        }
        if !self.begun && first.octets {
            let about = About::read(&first.meta);
            match download::head(&about, &self.session.req_header().headers) {
                Ok((head, window)) => {
                    self.window = Some(window);
                    self.open(head).await?;
                }
                Err(refusal) => {
                    self.refusal = Some(refusal);
                    return Err(None);
                }
            }
        }
        let mut taken = first.weight();
        let mut out = BytesMut::new();
        // A piece of bytes alone is written as it came.
        let mut whole = Some(first.payload.clone()).filter(|_| first.octets);
        self.put(&mut out, &first);
        while out.len() < PIECE
            && let Some(item) = behind.ready()
        {
            taken = taken.saturating_add(item.weight());
            whole = None;
            self.put(&mut out, &item);
        }
        let mut bytes = whole.unwrap_or_else(|| out.freeze());
        if let Some(window) = &mut self.window {
            bytes = window.cut(bytes);
            if window.is_complete() {
                // Who was told the length has all of it with these bytes.
                self.ctx.bytes_out += bytes.len();
                self.ctx.record();
                self.ctx.bytes_out -= bytes.len();
            }
        }
        self.piece(bytes).await?;
        behind.consumed(taken);
        Ok(())
    }

    fn put(&mut self, out: &mut BytesMut, item: &Item) {
        match self.shape.form {
            Form::Events => events::event(out, self.count, &item.payload),
            Form::Lines => events::line(out, &item.payload),
            Form::Whole => out.extend_from_slice(&item.payload),
        }
        self.count += 1;
    }

    /// Writes the head, unless that is done.
    async fn begin(&mut self) -> Written<()> {
        if self.begun {
            return Ok(());
        }
        let mut head = ResponseHeader::build_no_case(StatusCode::OK, Some(12))?;
        head.insert_header(header::CONTENT_TYPE, HeaderValue::from_static(self.kind()))?;
        if self.shape.form != Form::Whole {
            head.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
            // Proxies of the nginx kind would collect what comes slowly.
            head.insert_header("x-accel-buffering", HeaderValue::from_static("no"))?;
        }
        self.open(head).await
    }

    /// Writes a head.
    async fn open(&mut self, mut head: ResponseHeader) -> Written<()> {
        match self.session.req_header().version {
            _ if head.headers.contains_key(header::CONTENT_LENGTH) => {}
            Version::HTTP_11 => {
                head.insert_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
            }
            // The end of the connection is the end of the answer.
            Version::HTTP_10 => self.session.as_downstream_mut().set_keepalive(None),
            _ => {}
        }
        self.edge.common(&mut head, self.ctx)?;
        self.edge.expose(self.session, &mut head)?;
        self.ctx.status = head.status.as_u16();
        self.begun = true;
        self.session.as_downstream_mut().write_response_header(Box::new(head)).await
    }

    const fn kind(&self) -> &'static str {
        match self.shape.form {
            Form::Events => "text/event-stream",
            Form::Lines => "application/x-ndjson",
            Form::Whole => "application/octet-stream",
        }
    }

    /// Writes bytes of the body, behind the head.
    async fn piece(&mut self, mut bytes: Bytes) -> Result<(), Option<Box<Error>>> {
        self.begin().await?;
        self.ctx.bytes_out += bytes.len();
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            self.session.as_downstream_mut().write_response_body(piece, false).await?;
        }
        Ok(())
    }

    /// There was no going on.
    fn given_up(mut self, error: Option<Box<Error>>) -> Result<Answered, Refusal> {
        match self.refusal.take() {
            Some(refusal) => Err(refusal),
            None if error.is_none() && !self.begun => Err(gone()),
            None => Ok(self.abandoned(error)),
        }
    }

    /// The caller has left in the middle. What was written has no proper end: somebody may have closed only the half
    /// of the connection that we read, and would take a part for the whole.
    fn abandoned(&mut self, error: Option<Box<Error>>) -> Answered {
        self.ctx.code = Some(Code::ClientClosed);
        let left =
            || Error::explain(ErrorType::ConnectionClosed, "the client left before the end").into_down();
        Answered::Broken(error.unwrap_or_else(left))
    }

    /// Says how the call has ended.
    async fn end(mut self, mut answer: Answer) -> Result<Answered, Refusal> {
        self.ctx.heard(&mut answer);
        let is_sent = matches!(answer.outcome, Outcome::Ended { .. });
        let said = match outcome(answer, &self.agent.mount) {
            Ok(success) if is_sent => Ok(success.usage),
            Ok(success) if !self.begun && self.is_whole(&success) => return Ok(Answered::Whole(success)),
            Ok(success) => {
                let item = Item { number: 0, octets: false, meta: Bytes::new(), payload: success.body };
                let mut out = BytesMut::new();
                self.put(&mut out, &item);
                if let Err(error) = self.piece(out.freeze()).await {
                    return Ok(self.abandoned(error));
                }
                Ok(success.usage)
            }
            Err(refusal) if !self.begun => return Err(refusal),
            Err(refusal) => Err(refusal),
        };
        let mut out = BytesMut::new();
        match (said, self.shape.form) {
            (Ok(usage), Form::Events) => {
                let done = match self.shape.envelope {
                    Some(wrapping) => tail(self.ctx, &self.agent, wrapping, usage.as_deref()),
                    None => serde_json::json!({ "items": self.count }),
                };
                events::last(&mut out, "done", done.to_string().as_bytes());
            }
            (Ok(_), Form::Whole) if self.window.is_some_and(|window| !window.is_complete()) => {
                let text = "the agent has sent less than it said";
                return Ok(Answered::Broken(Error::explain(ErrorType::InternalError, text)));
            }
            (Ok(_), Form::Lines | Form::Whole) => {}
            (Err(refusal), form) => {
                let problem = self.edge.describe(self.session, self.ctx, &refusal);
                match form {
                    Form::Events => events::last(&mut out, "error", &problem),
                    Form::Lines => events::failed_line(&mut out, &problem),
                    Form::Whole => {
                        let text = "the agent failed while it sent its result";
                        return Ok(Answered::Broken(Error::explain(ErrorType::InternalError, text)));
                    }
                }
            }
        }
        self.ctx.bytes_out += out.len();
        self.ctx.record();
        self.ctx.bytes_out -= out.len();
        match self.finish(out.freeze()).await {
            Ok(()) => Ok(Answered::Streamed),
            Err(error) => Ok(self.abandoned(error)),
        }
    }

    /// Writes the last bytes and the end of the body. The framework waits for ever for who does not read the latter.
    async fn finish(&mut self, last: Bytes) -> Result<(), Option<Box<Error>>> {
        self.piece(last).await?;
        let patience = self.edge.connections.idle_timeout;
        let finished = tokio::time::timeout(patience, self.session.as_downstream_mut().finish_body()).await;
        finished.map_err(|_elapsed| None)?.map_err(Some)
    }

    /// Whether a result is written as if nobody had asked for items: bytes are no event and no line.
    fn is_whole(&self, success: &Success) -> bool {
        self.shape.form == Form::Whole || !success.is_json()
    }
}
