//! One line per request, and its metrics: the end of every way through the edge.

use std::time::Duration;

use http::Method;
use par_proto::code::Code;
use pingora_proxy::Session;

use super::{Edge, ctx::Ctx, front::Front, respond::milliseconds};
use crate::observe::line;

impl Edge {
    /// Counts a request and writes its line.
    pub(crate) fn settle(&self, session: &Session, ctx: &Ctx) {
        let total = ctx.begin.elapsed();
        let front = ctx.agent.as_ref().map(|agent| Front::of(agent, &self.metrics));
        if let Some(front) = &front {
            self.count(front, ctx, total);
        }
        // What the agent does wrong is its author's business, and a probe that hears 503 was answered as it should.
        let ours = ctx.agent.is_some() || ctx.code == Some(Code::Internal);
        let level =
            if ctx.status >= 500 && ours && ctx.code != Some(Code::AgentError) { "warn" } else { "info" };
        self.sink.line(|out| {
            self.identity.open(out, level, "access");
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
            out.extend_from_slice(b"null");
            number(out, "bytes_in", ctx.bytes_in as u64);
            number(out, "bytes_out", ctx.bytes_out as u64);
            details(out, session, ctx);
            out.push(b'}');
        });
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
                let is_limit = matches!(
                    code,
                    Code::QueueFull | Code::TooLarge | Code::RateLimited | Code::QuotaExceeded
                );
                if is_limit {
                    self.metrics.limited.with_label_values(&[code.text()]).inc();
                }
            }
        }
        front.seconds.observe(total.as_secs_f64());
        front.queue.observe(ctx.queued.as_secs_f64());
        if ctx.code.is_none() {
            let ours = total.saturating_sub(ctx.queued).saturating_sub(ctx.worker);
            self.metrics.overhead_seconds.observe(ours.as_secs_f64());
        }
    }
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    line::key(out, name);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn details(out: &mut Vec<u8>, session: &Session, ctx: &Ctx) {
    let request = session.req_header();
    line::key(out, "details");
    out.extend_from_slice(b"{\"method\":");
    line::string(out, method(&request.method));
    line::key(out, "path");
    line::string(out, request.uri.path());
    if ctx.pid != 0 {
        number(out, "worker", u64::from(ctx.pid));
    }
    if let Some(cause) = &ctx.cause {
        line::key(out, "cause");
        line::string(out, cause);
    }
    out.push(b'}');
}

fn method(method: &Method) -> &str {
    method.as_str()
}
