//! One line per request, and its metrics: the end of every way through the edge.

use std::time::Duration;

use http::Method;
use par_pool::fleet::Origin;
use par_proto::code::Code;
use pingora_proxy::Session;
use tracing::Level;

use super::{
    Edge, ctx::Ctx, exchange::Course, failed::Failed, front::Front, respond::milliseconds, who::Decision,
};
use crate::{
    auth::Caller,
    limit::Scope,
    observe::{levels::Line, line, log::level_text, sample::Sampled},
};

impl Edge {
    /// Counts a request and writes its line.
    pub(crate) fn settle(&self, session: &Session, ctx: &Ctx) {
        let total = ctx.begin.elapsed();
        let front = ctx.front(&self.metrics);
        if let Some(front) = &front {
            self.count(front, ctx, total);
        }
        let failed = Failed::of(ctx);
        if let Some(failed) = &failed {
            self.explain(failed, ctx, front.as_deref(), total);
        }
        // What the agent does wrong is its author's business, and a probe that hears 503 was answered as it should.
        let ours = front.is_some() || ctx.code == Some(Code::Internal);
        let level = if ctx.status >= 500 && ours && ctx.code != Some(Code::AgentError) {
            Level::WARN
        } else {
            Level::INFO
        };
        let Some(stands_for) = self.writes(level, ctx.code.is_none() && ctx.status < 400) else { return };
        self.sink.line(|out| {
            self.identity.open(out, level_text(level), "access");
            if let Some(front) = &front {
                out.extend_from_slice(&front.members);
            }
            number(out, "status", u64::from(ctx.status));
            line::key(out, "code");
            line::string(out, ctx.code.map_or("ok", Code::text));
            for (name, time) in [("latency_ms", total), ("queue_ms", ctx.queued), ("worker_ms", ctx.worker)] {
                line::key(out, name);
                milliseconds(out, time);
            }
            line::key(out, "request_id");
            line::string(out, &ctx.request_id);
            line::key(out, "trace_id");
            match &ctx.trace_id {
                Some(id) => line::string(out, id),
                None => out.extend_from_slice(b"null"),
            }
            line::key(out, "tenant");
            match &ctx.caller {
                Some(caller) => line::string(out, &caller.tenant),
                None => out.extend_from_slice(b"null"),
            }
            number(out, "bytes_in", ctx.bytes_in as u64);
            number(out, "bytes_out", ctx.bytes_out as u64);
            details(out, session, ctx, failed.as_ref());
            sampled(out, stands_for);
            out.extend_from_slice(b"}}");
        });
        self.end_trace(session, ctx);
    }

    /// Counts a call that one agent has made of another, and writes its line.
    pub(super) fn write_between(
        &self,
        origin: &Origin,
        course: &Course,
        front: &Front,
        caller: Option<&Caller>,
        total: Duration,
    ) {
        match course.code {
            None => front.ok.inc(),
            Some(code) => {
                let [agent, version] = &front.labels;
                let labels = [agent.as_str(), version.as_str(), code.text()];
                self.metrics.requests.with_label_values(&labels).inc();
            }
        }
        front.seconds.observe(total.as_secs_f64());
        front.queue.observe(course.queued.as_secs_f64());
        let failed = Failed::between(course);
        if let Some(failed) = &failed {
            self.explain_between(failed, (origin, course), front, caller, total);
        }
        let status = course.code.map_or(200, Code::http);
        let level =
            if status >= 500 && course.code != Some(Code::AgentError) { Level::WARN } else { Level::INFO };
        let Some(stands_for) = self.writes(level, course.code.is_none()) else { return };
        self.sink.line(|out| {
            self.identity.open(out, level_text(level), "agent_call");
            out.extend_from_slice(&front.members);
            number(out, "status", u64::from(status));
            line::key(out, "code");
            line::string(out, course.code.map_or("ok", Code::text));
            for (name, time) in
                [("latency_ms", total), ("queue_ms", course.queued), ("worker_ms", course.worker)]
            {
                line::key(out, name);
                milliseconds(out, time);
            }
            line::key(out, "request_id");
            line::string(out, &origin.request_id);
            line::key(out, "tenant");
            match caller {
                Some(caller) => line::string(out, &caller.tenant),
                None => out.extend_from_slice(b"null"),
            }
            number(out, "bytes_out", course.bytes_out as u64);
            line::key(out, "details");
            out.extend_from_slice(b"{\"depth\":");
            out.extend_from_slice(itoa::Buffer::new().format(origin.depth + 1).as_bytes());
            if course.pid != 0 {
                number(out, "worker", u64::from(course.pid));
            }
            if let Some(cause) = &course.cause {
                line::key(out, "cause");
                line::string(out, short(cause));
            }
            if let Some(failed) = &failed {
                failed.append(out);
            }
            sampled(out, stands_for);
            out.extend_from_slice(b"}}");
        });
    }

    /// Whether an access line is written, and for how many it stands.
    fn writes(&self, level: Level, went_well: bool) -> Option<u32> {
        if !self.levels.writes(Line::Access, level) {
            return None;
        }
        let live = self.live.load();
        let Some(sampler) = live.sampler.as_deref().filter(|_| went_well) else { return Some(1) };
        match sampler.decide() {
            Sampled::Written => Some(1),
            Sampled::OneOf(many) => Some(many),
            Sampled::LeftOut => None,
        }
    }

    fn count(&self, front: &Front, ctx: &Ctx, total: Duration) {
        match ctx.code {
            None => front.ok.inc(),
            Some(code) => {
                let [agent, version] = &front.labels;
                self.metrics
                    .requests
                    .with_label_values(&[agent.as_str(), version.as_str(), code.text()])
                    .inc();
                // Of rates and quotas the label says which; of others the code does.
                let by_code = matches!(code, Code::QueueFull | Code::TooLarge).then(|| code.text());
                if let Some(reason) = ctx.limited.map(Scope::text).or(by_code) {
                    self.metrics.limited.with_label_values(&[reason]).inc();
                }
            }
        }
        front.seconds.observe(total.as_secs_f64());
        front.queue.observe(ctx.queued.as_secs_f64());
        // Of an application nobody says how long it has worked.
        if ctx.code.is_none() && ctx.agent.is_some() {
            let ours = total.saturating_sub(ctx.queued).saturating_sub(ctx.worker);
            self.metrics.overhead_seconds.observe(ours.as_secs_f64());
        }
    }
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    line::key(out, name);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn details(out: &mut Vec<u8>, session: &Session, ctx: &Ctx, failed: Option<&Failed<'_>>) {
    let request = session.req_header();
    line::key(out, "details");
    out.extend_from_slice(b"{\"method\":");
    line::string(out, method(&request.method));
    line::key(out, "path");
    line::string(out, short(request.uri.path()));
    if let Some(told) = ctx.grpc.as_ref().and_then(|exchange| exchange.told) {
        number(out, "grpc_status", u64::from(told));
    }
    if let Some(address) = ctx.client.address {
        line::key(out, "client");
        line::display(out, format_args!("{address}"));
    }
    if ctx.decision != Decision::Open {
        line::key(out, "decision");
        line::string(out, ctx.decision.text());
    }
    if let Some(caller) = &ctx.caller {
        line::key(out, "subject");
        line::string(out, &caller.subject_hash);
    }
    if ctx.pid != 0 {
        number(out, "worker", u64::from(ctx.pid));
    }
    if let Some(cause) = &ctx.cause {
        line::key(out, "cause");
        line::string(out, short(cause));
    }
    if let Some(failed) = failed {
        failed.append(out);
    }
}

/// How many calls that went well this line stands for.
fn sampled(out: &mut Vec<u8>, stands_for: u32) {
    if stands_for > 1 {
        number(out, "one_in", u64::from(stands_for));
    }
}

/// Most bytes of a text that a client chose. Paths may be sixteen times as long, and whoever sends them must not write
/// the log.
const SHOWN: usize = 1024;

pub(super) fn short(text: &str) -> &str {
    text.get(..text.floor_char_boundary(SHOWN)).unwrap_or(text)
}

fn method(method: &Method) -> &str {
    method.as_str()
}
