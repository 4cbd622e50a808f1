//! `AgentService.Invoke`: an action becomes a call of the agent that has its name.
//!
//! What an agent fails at is a result that says so; what the runtime refuses is a status of gRPC.

use std::{sync::Arc, time::Instant};

use base64::Engine as _;
use par_pool::fleet::{Agent, Call};
use par_proto::code::Code;
use pingora_proxy::Session;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    super::{
        Edge,
        accept::Form,
        ctx::Ctx,
        envelope::Wrapping,
        invoke::{Run, Success, gone, left, meta, outcome},
        refusal::{Refusal, text},
        stream::{Answered, Shape},
        trace,
    },
    agent::{DEFAULT, EVERY, INVOKE},
    malformed,
    target::{Server, Target},
};
use crate::{
    a2a::{Action, ActionResult, Asked, timeout},
    auth::Role,
    meter::Surface,
};

/// A result as text, or what the client hears instead.
type Outcome = Result<String, String>;

impl Edge {
    /// Does what an `ActionRequest` asks for; gives an `ActionResult`.
    pub(super) async fn act(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        target: &Target,
        message: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let Asked { request_id, action } = Asked::read(message).map_err(malformed)?;
        let begin = Instant::now();
        let outcome = match action {
            Ok(action) => self.outcome(session, ctx, target, action).await?,
            Err(problem) => {
                ctx.code = Some(Code::InputInvalid);
                Err(problem)
            }
        };
        let request_id = if request_id.is_empty() { ctx.request_id.to_string() } else { request_id };
        let milliseconds = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(ActionResult { outcome, request_id, milliseconds }.bytes())
    }

    async fn outcome(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        target: &Target,
        action: Action,
    ) -> Result<Outcome, Refusal> {
        let answered = match target.answering(self, &action.name)? {
            Answering::Nobody => {
                ctx.code = Some(Code::NotFound);
                return Ok(Err(format!("No handler found for action: {}", action.name)));
            }
            Answering::Export(agent) => {
                self.export(session, ctx, agent, action).await.map(|success| Ok(written(&success)))
            }
            Answering::Action(server, number) => self
                .own_action(session, ctx, target, (&server, number), action)
                .await
                .map(|success| Ok(written(&success))),
            Answering::Every(server, number) => {
                let action = wrapped(&action, &ctx.request_id);
                let success = self.own_action(session, ctx, target, (&server, number), action).await;
                success.map(|success| unwrapped(&success))
            }
        };
        match answered {
            Err(refusal) if refusal.code == Code::AgentError => {
                ctx.code = Some(refusal.code);
                Ok(Err(self.told(session, ctx, &refusal)))
            }
            answered => answered,
        }
    }

    /// Asks the package's own process for one of its actions.
    async fn own_action(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        target: &Target,
        (server, number): (&Server, u32),
        action: Action,
    ) -> Result<Success, Refusal> {
        let mount = &target.mount;
        let deadline = self.soonest(session, None, ctx.begin)?;
        let (permit, _guest, tenant) = self.admit_guest(session, ctx, target).await?;
        let witness = trace::invoke(&mut ctx.trace);
        let call = Call {
            export: number,
            meta: meta(session, ctx, (&target.id(), mount), &permit, None)?,
            payload: action.parameters,
            request_id: Arc::clone(&ctx.request_id),
            deadline,
            tenant: Some(tenant),
            principal: permit.principal(),
            depth: 0,
            session: None,
            files: None,
            feed: None,
            trace: witness,
        };
        let mut answer = tokio::select! {
            biased;
            answer = mount.generation.act(&server.0, number, call) => answer,
            () = left(session) => return Err(gone()),
        };
        ctx.heard(&mut answer);
        outcome(answer, mount)
    }

    /// Calls an agent as any other call does.
    async fn export(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        agent: Arc<Agent>,
        action: Action,
    ) -> Result<Success, Refusal> {
        ctx.agent = Some(Arc::clone(&agent));
        let permit = self.permit(ctx, &agent)?;
        Target::enabled(&agent)?;
        let deadline = self.soonest(session, Some(&agent), ctx.begin)?;
        let tenant = self.enter(session, ctx, &agent.id, Surface::Grpc).await?;
        trace::let_in(ctx);
        let wrapping = Wrapping::default();
        let shape = Shape { form: Form::Whole, envelope: Some(&wrapping) };
        let run = Run {
            input: action.parameters,
            files: None,
            wrapping: &wrapping,
            permit: &permit,
            tenant,
            deadline,
            shape,
        };
        match self.run(session, ctx, agent, run).await?.0 {
            Answered::Whole(success) => Ok(success),
            // Nothing was asked for item by item.
            Answered::Streamed | Answered::Broken(_) => {
                Err(Refusal::new(Code::Internal, "the result came in parts"))
            }
        }
    }

    /// When the caller stops waiting: what it says in either way only shortens.
    fn soonest(&self, session: &Session, agent: Option<&Agent>, begin: Instant) -> Result<Instant, Refusal> {
        let deadline = self.deadline(session, agent, begin)?;
        let Some(value) = session.req_header().headers.get("grpc-timeout") else { return Ok(deadline) };
        match value.to_str().ok().and_then(timeout) {
            Some(wait) => Ok(deadline.min(begin + wait)),
            None => Err(Refusal::new(Code::BadRequest, "grpc-timeout is no amount of time")),
        }
    }

    /// What a client hears of an agent that raised: the message where it may be known, else its kind.
    fn told(&self, session: &Session, ctx: &mut Ctx, refusal: &Refusal) -> String {
        let Some(fault) = refusal.fault.as_ref() else { return refusal.detail.clone().into_owned() };
        let (class, message) = (text(fault, "type"), text(fault, "message"));
        ctx.cause = Some(format!("{class}: {message}"));
        let is_shown = self.expose_errors || self.role_of(session, ctx) == Role::Operator;
        let shown =
            if is_shown && !message.is_empty() { message } else { format!("{}: {class}", refusal.detail) };
        let mut shown = shown.into_bytes();
        self.sink.redactor().mask(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    }
}

/// What answers an action.
enum Answering {
    /// An action of the package's own, by its number.
    Action(Server, u32),
    /// The action of the package that takes every name.
    Every(Server, u32),
    /// An agent.
    Export(Arc<Agent>),
    /// Nothing.
    Nobody,
}

impl Target {
    /// What an action means: the package's own action of that name, or its action for every name; else the export of
    /// that name, or what the id itself reaches.
    fn answering(&self, edge: &Edge, action: &str) -> Result<Answering, Refusal> {
        self.living()?;
        if let Some(server) = self.server() {
            let number = |name: &str| {
                let at = server.facts().actions.iter().position(|own| own == name)?;
                u32::try_from(at).ok()
            };
            match (number(action).filter(|_| action != EVERY), number(EVERY)) {
                (Some(number), _) => return Ok(Answering::Action(server, number)),
                (None, Some(number)) => return Ok(Answering::Every(server, number)),
                (None, None) => {}
            }
        }
        let agent = self.export(edge, action).or_else(|| match action {
            INVOKE | DEFAULT => self.agent.clone(),
            _ => None,
        });
        Ok(agent.map_or(Answering::Nobody, Answering::Export))
    }
}

/// What the action that takes every name is given.
fn wrapped(action: &Action, request_id: &str) -> Action {
    // The parameters are JSON, and texts always become JSON.
    let parameters = serde_json::from_slice::<Box<RawValue>>(&action.parameters).unwrap_or_default();
    let given = json!({"action": action.name, "request_id": request_id, "parameters": parameters});
    Action { name: EVERY.to_owned(), parameters: given.to_string().into() }
}

/// What the action that takes every name gives back.
#[derive(Deserialize)]
struct Given {
    success: bool,
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<String>,
}

fn unwrapped(success: &Success) -> Outcome {
    match serde_json::from_slice::<Given>(&success.body) {
        Ok(Given { success: true, result, .. }) => {
            Ok(result.map_or_else(String::new, |result| plain(result.get())))
        }
        Ok(Given { error, .. }) => Err(error.unwrap_or_default()),
        Err(error) => Err(format!("the result of the package is not as it should be: {error}")),
    }
}

/// JSON; a text is itself.
fn plain(json: &str) -> String {
    serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned())
}

/// A result as `ActionResult` has it: a text is itself, other JSON is JSON, and bytes that are no text are base64.
fn written(success: &Success) -> String {
    if success.is_json() {
        return plain(&String::from_utf8_lossy(&success.body));
    }
    match std::str::from_utf8(&success.body) {
        Ok(text) => text.to_owned(),
        Err(_) => base64::engine::general_purpose::STANDARD.encode(&success.body),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use bytes::Bytes;

    use super::{super::super::invoke::JSON, *};

    #[test]
    fn results_are_json_but_for_texts_and_bytes() {
        for (kind, body, wanted) in [
            (JSON, &br#"{"a":[1,2]}"#[..], r#"{"a":[1,2]}"#),
            (JSON, br#""a \"b\"""#, "a \"b\""),
            (JSON, b"null", "null"),
            (JSON, b"1.50", "1.50"),
            ("text/plain", "ä".as_bytes(), "ä"),
            ("application/octet-stream", &[0xff, 0], "/wA="),
        ] {
            let success = Success {
                content_type: Cow::Borrowed(kind),
                body: Bytes::from_static(body),
                about: None,
                usage: None,
            };
            assert_eq!(written(&success), wanted, "{kind} {body:?}");
        }
    }
}
