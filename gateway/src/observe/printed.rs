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

/// How far into a line its event stands at most: behind the time and the level, which nobody else writes.
const HEAD: usize = 96;

/// Takes so much of what packages have printed out of whole lines of JSON that they fit into `room` bytes, or all of it.
/// Tells how many lines that were.
pub(super) fn fit(lines: &mut Vec<u8>, room: usize) -> u64 {
    if lines.len() <= room {
        return 0;
    }
    let mut lost = 0;
    let mut kept = Vec::with_capacity(room);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let head = line.get(..HEAD).unwrap_or(line);
        let fits = kept.len() + line.len() <= room;
        if !fits && memchr::memmem::find(head, br#""event":"agent_output""#).is_some() {
            lost += 1;
        } else {
            kept.extend_from_slice(line);
        }
    }
    *lines = kept;
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_packages_print_is_taken_out_and_no_more_than_needed() {
        let printed =
            br#"{"ts":"2026-01-31T23:59:59.123Z","level":"info","event":"agent_output","details":{}}"#;
        let access = br#"{"ts":"2026-01-31T23:59:59.123Z","level":"info","event":"access","details":{}}"#;
        // Where somebody else's text may stand, it is no event.
        let named =
            format!(r#"{{"event":"access","path":"{}\"event\":\"agent_output\""}}"#, "x".repeat(HEAD));
        let all = [&access[..], printed, named.as_bytes(), printed, b""].join(&b'\n');
        let fitted = |room| {
            let mut lines = all.clone();
            let lost = fit(&mut lines, room);
            (lost, lines)
        };
        assert_eq!(fitted(0), (2, [&access[..], named.as_bytes(), b""].join(&b'\n')));
        let first = access.len() + printed.len() + 2;
        assert_eq!(fitted(first), (1, [&access[..], printed, named.as_bytes(), b""].join(&b'\n')));
        assert_eq!(fitted(all.len()), (0, all.clone()));
    }
}
