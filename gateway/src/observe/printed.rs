//! What agents print, as lines of the log with the ids of the call that runs.

use std::sync::Arc;

use par_pool::process::{CallName, OutputLine, OutputSink};
use serde::Deserialize;
use tracing::Level;

use super::{levels::Line, line, log::Logging};

/// What a worker was told of a call, as far as its lines tell it.
#[derive(Default, Deserialize)]
struct Told<'a> {
    agent_id: Option<&'a str>,
    traceparent: Option<&'a str>,
}

impl<'a> Told<'a> {
    fn of(call: Option<&'a CallName>) -> Self {
        call.and_then(|call| serde_json::from_slice(&call.meta).ok()).unwrap_or_default()
    }

    fn trace_id(&self) -> Option<&'a str> {
        self.traceparent?.get(3..35)
    }
}

/// The sink of the pool's processes.
pub(crate) fn output(logging: &Logging) -> OutputSink {
    let logging = logging.clone();
    OutputSink(Arc::new(move |printed: &OutputLine<'_>| {
        if !logging.levels.writes(Line::AgentOutput, Level::INFO) {
            return;
        }
        let call = printed.call.as_ref();
        let told = Told::of(call);
        let ids = [
            ("request_id", call.map(|call| &*call.request_id)),
            ("agent_id", told.agent_id),
            ("trace_id", told.trace_id()),
        ];
        logging.sink.printed(|out| {
            logging.identity.open(out, "info", "agent_output");
            for (name, id) in ids {
                line::key(out, name);
                match id {
                    Some(id) => line::string(out, id),
                    None => out.extend_from_slice(b"null"),
                }
            }
            let details = serde_json::json!({
                "package": &*printed.origin.package,
                "role": printed.origin.role,
                "worker": printed.origin.pid,
                "stream": printed.stream,
                "message": printed.text,
            });
            line::key(out, "details");
            out.extend_from_slice(details.to_string().as_bytes());
            out.push(b'}');
        });
    }))
}
