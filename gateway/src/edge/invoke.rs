//! The hot path: admitted request in, answer out. Nothing here is proxied.

use std::{borrow::Cow, sync::Arc, time::Instant};

use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, header::AUTHORIZATION};
use par_pool::fleet::{self, Agent, Answer, Call, Mount, Outcome};
use par_proto::{code::Code, frames::FLAG_OCTETS};
use pingora_proxy::Session;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Edge, accept,
    admit::Admitted,
    ctx::Ctx,
    download::About,
    envelope::{Wrapping, wrap},
    fit,
    form::Files,
    intake::{self, Intake},
    refusal::Refusal,
    session::denied,
    stream::{self, Answered, Shape},
    trace, unread,
};
use crate::{auth::permit::Permit, meter::Surface};

/// A result, ready to be written.
#[derive(Debug)]
pub(crate) struct Success {
    pub(crate) content_type: Cow<'static, str>,
    pub(crate) body: Bytes,
    /// What is said of bytes that are no JSON of ours.
    pub(super) about: Option<Box<About>>,
    /// What the agent reported, as JSON.
    pub(super) usage: Option<Box<RawValue>>,
}

impl Success {
    /// Whether it is JSON that was made here, and not bytes of an agent, whatever it calls them.
    pub(super) fn is_json(&self) -> bool {
        self.about.is_none() && self.content_type == JSON
    }
}

pub(super) const JSON: &str = "application/json";

/// What a call needs besides its agent.
pub(super) struct Run<'a> {
    /// JSON, unless the agent has a schema by which it is read.
    pub(super) input: Bytes,
    /// Files of a form.
    pub(super) files: Option<Files>,
    /// What came with it.
    pub(super) wrapping: &'a Wrapping,
    /// The right to call.
    pub(super) permit: &'a Permit,
    /// On whose account.
    pub(super) tenant: Arc<str>,
    /// When the caller stops waiting.
    pub(super) deadline: Instant,
    /// How the answer is written.
    pub(super) shape: Shape<'a>,
}

impl Edge {
    /// Answers `POST /agents/{id}/invoke` and the envelope route.
    pub(super) async fn invoke(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        admitted: Admitted,
    ) -> Result<Answered, Refusal> {
        let Admitted { agent, envelope, permit } = admitted;
        ctx.agent = Some(Arc::clone(&agent));
        if session.req_header().method != Method::POST {
            let mut refusal = Refusal::new(Code::MethodNotAllowed, "agents are called with POST");
            refusal.allow = Some("POST");
            return Err(refusal);
        }
        let deadline = self.deadline(session, Some(&agent), ctx.begin)?;
        let kind = match intake::kind(session) {
            Ok(kind) => kind,
            Err(refusal) => {
                return Err(if Box::pin(unread::drain(session)).await { refusal } else { refusal.closing() });
            }
        };
        let tenant = self.enter(session, ctx, &agent.id, Surface::Invoke).await?;
        trace::let_in(ctx);
        let Intake { input, wrapping, files } = self.take_in(session, ctx, &agent, kind, envelope).await?;
        let form = accept::form(&session.req_header().headers);
        let shape = Shape { form, envelope: envelope.then_some(&wrapping) };
        let run = Run { input, files, wrapping: &wrapping, permit: &permit, tenant, deadline, shape };
        match self.run(session, ctx, agent, run).await? {
            (Answered::Whole(success), agent) if envelope => {
                Ok(Answered::Whole(wrap(&success, ctx, &agent, &wrapping)))
            }
            (answered, _) => Ok(answered),
        }
    }

    /// Calls an agent with an input that has been read, and gives its result with the agent that made it.
    ///
    /// A generation that ended while the body was read is looked up again: the table names the one that replaced it.
    /// That one may ask for another role and another input.
    pub(super) async fn run(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        mut agent: Arc<Agent>,
        run: Run<'_>,
    ) -> Result<(Answered, Arc<Agent>), Refusal> {
        let Run { input, mut files, wrapping, permit, tenant, deadline, shape } = run;
        let named = wrapping.session_id.as_deref();
        let claim = Self::claim(session, ctx, &agent, (&input, named), &tenant)?;
        if let Some(claim) = &claim {
            agent = self.resident(ctx, &agent, claim)?;
        }
        let mut newer = true;
        loop {
            fit::input(&agent, &input, deadline).await?;
            if let Some(files) = &mut files {
                // Sessions and rollouts may lead to another generation than the one they were sent to.
                Box::pin(files.follow(&agent)).await?;
            }
            let witness = trace::invoke(&mut ctx.trace);
            let mut call = Call {
                export: agent.export,
                meta: meta(session, ctx, (&agent.text, &agent.mount), permit, files.as_ref())?,
                payload: input.clone(),
                request_id: Arc::clone(&ctx.request_id),
                deadline,
                tenant: Some(Arc::clone(&tenant)),
                principal: permit.principal(),
                depth: 0,
                session: claim.clone(),
                files: files.as_ref().map(|files| Arc::clone(&files.attached)),
                feed: None,
                trace: witness,
            };
            let mut answer = match stream::wanted(&shape) {
                Some(form) => {
                    let (feed, items) = fleet::stream(form, deadline.saturating_duration_since(ctx.begin));
                    call.feed = Some(feed);
                    match Box::pin(self.pass_on(session, ctx, (&agent, shape), call, items)).await? {
                        Ok(Answered::Whole(success)) => {
                            return self.checked(agent, success, deadline).await;
                        }
                        Ok(answered) => return Ok((answered, agent)),
                        Err(answer) => answer,
                    }
                }
                None => tokio::select! {
                    biased;
                    answer = self.pool.call(&agent, call) => answer,
                    () = left(session) => return Err(gone()),
                },
            };
            if matches!(answer.outcome, Outcome::Stopping)
                && std::mem::take(&mut newer)
                && let Some(successor) = self.successor(&agent, false)
            {
                self.permit(ctx, &successor)?;
                agent = Arc::clone(&successor);
                ctx.agent = Some(successor);
                continue;
            }
            ctx.heard(&mut answer);
            let success = outcome(answer, &agent.mount)?;
            return self.checked(agent, success, deadline).await;
        }
    }

    /// What every whole result passes.
    async fn checked(
        &self,
        agent: Arc<Agent>,
        success: Success,
        deadline: Instant,
    ) -> Result<(Answered, Arc<Agent>), Refusal> {
        if self.validate_output {
            fit::result(&agent, &success, deadline).await?;
        }
        Ok((Answered::Whole(success), agent))
    }

    /// What replaced the generation of an agent, if anything did; private ones are for agents only.
    pub(super) fn successor(&self, agent: &Agent, private: bool) -> Option<Arc<Agent>> {
        let directory = self.pool.directory();
        let by_package = format!("{}/{}", agent.id.package.name, agent.id.export);
        let newer = directory.find(&agent.text).or_else(|| directory.find(&by_package))?;
        ((private || !newer.is_private()) && !Arc::ptr_eq(&newer.mount, &agent.mount))
            .then(|| Arc::clone(newer))
    }
}

/// What is noted of a client that did not wait.
pub(super) fn gone() -> Refusal {
    Refusal::new(Code::ClientClosed, "the client left before the answer").closing()
}

/// Ends when the client leaves.
pub(super) async fn left(session: &mut Session) {
    if session.as_downstream_mut().read_body_or_idle(true).await.is_ok() {
        // Bytes of a pipelined request: the client is still there.
        std::future::pending::<()>().await;
    }
}

/// Most metadata of a call; a frame has room for 64 KiB, and the pool may add the session.
const META: usize = 63 << 10;

/// Metadata of the call frame. Ids are checked text and need no escaping.
pub(super) fn meta(
    session: &Session,
    ctx: &Ctx,
    (id, mount): (&str, &Mount),
    permit: &Permit,
    files: Option<&Files>,
) -> Result<Bytes, Refusal> {
    let caller = permit.caller();
    let headers = &session.req_header().headers;
    let mut out = BytesMut::with_capacity(160 + caller.map_or(0, |caller| caller.json.len() + 16));
    out.put_slice(b"{\"request_id\":\"");
    out.put_slice(ctx.request_id.as_bytes());
    out.put_slice(b"\",\"agent_id\":\"");
    out.put_slice(id.as_bytes());
    out.put_slice(b"\",\"version\":\"");
    out.put_slice(mount.id.version.as_str().as_bytes());
    out.put_slice(b"\"");
    trace::tell(&mut out, headers, ctx);
    if let Some(caller) = caller {
        out.put_slice(b",\"caller\":");
        out.put_slice(&caller.json);
    }
    if mount.package().forward_authorization
        && let Some(value) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok())
    {
        out.put_slice(b",\"authorization\":");
        out.put_slice(&serde_json::to_vec(value).unwrap_or_default());
    }
    if let Some(files) = files {
        out.put_slice(b",\"files\":");
        out.put_slice(&files.told());
    }
    out.put_slice(b"}");
    if out.len() > META {
        let text = "what comes with the input is over 63 KiB: names of files, Authorization";
        return Err(Refusal::new(Code::TooLarge, text));
    }
    Ok(out.freeze())
}

/// Metadata of a result.
#[derive(Debug, Default, Deserialize)]
struct ResultMeta {
    usage: Option<Box<RawValue>>,
}

/// Reads metadata, of which almost no call has any.
fn result_meta(meta: &[u8]) -> ResultMeta {
    if meta.is_empty() { ResultMeta::default() } else { serde_json::from_slice(meta).unwrap_or_default() }
}

pub(super) fn outcome(answer: Answer, mount: &Mount) -> Result<Success, Refusal> {
    match answer.outcome {
        Outcome::Done { flags, meta, payload } => {
            let usage = result_meta(&meta).usage;
            if flags & FLAG_OCTETS == 0 {
                return Ok(Success { content_type: Cow::Borrowed(JSON), body: payload, about: None, usage });
            }
            let about = About { length: Some(payload.len() as u64), ..About::read(&meta) };
            let content_type = Cow::Owned(about.content_type().to_owned());
            Ok(Success { content_type, body: payload, about: Some(Box::new(about)), usage })
        }
        Outcome::Ended { meta } => {
            let (content_type, body) = (Cow::Borrowed(JSON), Bytes::from_static(b"null"));
            Ok(Success { content_type, body, about: None, usage: result_meta(&meta).usage })
        }
        Outcome::Failed(payload) => Err(failed(&payload)),
        Outcome::Crashed(death) => Err(Refusal::new(Code::WorkerCrashed, death.to_string())),
        Outcome::Deadline { started } => Err(Refusal::new(
            Code::DeadlineExceeded,
            if started {
                "the agent did not answer before the deadline"
            } else {
                "the call could not start before its deadline"
            },
        )),
        Outcome::AtLimit { retry_after } => Err(Refusal::at_limit(retry_after)),
        Outcome::QueueFull { retry_after } => {
            Err(Refusal::new(Code::QueueFull, "more calls wait than can be answered in time")
                .retry_after(retry_after))
        }
        Outcome::Entangled => Err(Refusal::new(
            Code::QueueFull,
            format!("every worker of {} waits for calls of its own", mount.id),
        )),
        Outcome::CrashLoop { retry_after } => {
            Err(Refusal::new(Code::CrashLoop, format!("the workers of {} die before they answer", mount.id))
                .retry_after(retry_after))
        }
        Outcome::Session(why) => Err(denied(why)),
        Outcome::Stopping => Err(Refusal::new(Code::Stopping, "the agent is being stopped")),
    }
}

/// The agent's own failure, by its kind.
fn failed(payload: &[u8]) -> Refusal {
    let fault: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
    let text =
        |name: &str| fault.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    match text("kind").as_str() {
        "input" => {
            let mut refusal = Refusal::new(Code::InputInvalid, text("message"));
            refusal.errors = fault.get("errors").and_then(places);
            refusal
        }
        "deadline" => Refusal::new(Code::DeadlineExceeded, "the agent did not answer before the deadline"),
        "result" => {
            let place = text("place");
            let place =
                if place.is_empty() { "the result".to_owned() } else { format!("the result at {place}") };
            let mut refusal = Refusal::new(Code::AgentError, format!("{place} cannot be sent as JSON"));
            refusal.fault = Some(Box::new(fault));
            refusal
        }
        _ => {
            let mut refusal = Refusal::new(Code::AgentError, "the agent raised an error");
            refusal.fault = Some(Box::new(fault));
            refusal
        }
    }
}

/// Errors of the worker as problem documents have them: it knows no schema, so `schema_path` is the root.
fn places(errors: &serde_json::Value) -> Option<Box<RawValue>> {
    let mut errors = errors.clone();
    for error in errors.as_array_mut()? {
        error.as_object_mut()?.entry("schema_path").or_insert_with(|| "".into());
    }
    serde_json::value::to_raw_value(&errors).ok()
}
