//! The last lines of the log in memory, for `GET /runtime/logs`. Writing costs one copy per batch; looking pays for
//! the parsing.

use std::collections::VecDeque;

use bytes::Bytes;
use par_proto::ids::AgentId;
use parking_lot::Mutex;
use serde_json::{Value, value::RawValue};
use tokio::sync::broadcast;

/// Most bytes that are kept. 2,000 access lines have 0.7 MB; more would only serve tracebacks.
const MAX_BYTES: usize = 4 << 20;

/// Batches that a follower may be behind. At one batch per 20 ms it is 5 s: a client that stalls longer misses lines
/// and is told so.
const FOLLOW_BATCHES: usize = 256;

/// A bounded memory of lines, and a feed of new ones.
#[derive(Debug)]
pub(crate) struct RecentLines {
    max_lines: usize,
    ring: Mutex<Ring>,
    live: broadcast::Sender<Bytes>,
}

#[derive(Debug, Default)]
struct Ring {
    /// Batches of whole lines, each ending with a newline; with their number of lines.
    batches: VecDeque<(Bytes, usize)>,
    lines: usize,
    bytes: usize,
}

/// Which lines are wanted; all that is named must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Any id of an agent, or a package's.
    pub(crate) agent: Option<String>,
    /// Exactly this request.
    pub(crate) request_id: Option<String>,
    /// This level or a more severe one.
    pub(crate) level: Option<tracing::Level>,
}

impl RecentLines {
    /// Keeps up to `max_lines`.
    pub(crate) fn new(max_lines: usize) -> Self {
        Self { max_lines, ring: Mutex::default(), live: broadcast::Sender::new(FOLLOW_BATCHES) }
    }

    /// Takes whole lines, each ending with a newline.
    pub(crate) fn feed(&self, lines: &[u8]) {
        // Lines that this batch alone pushes out again are not copied.
        let surplus = count(lines).saturating_sub(self.max_lines);
        let skipped = newest(skip(lines, surplus), MAX_BYTES);
        let followed = self.live.receiver_count() > 0;
        let batch = Bytes::copy_from_slice(if followed { lines } else { skipped });
        let kept = batch.slice(batch.len() - skipped.len()..);
        let added = count(&kept);
        let mut ring = self.ring.lock();
        ring.lines += added;
        ring.bytes += kept.len();
        ring.batches.push_back((kept, added));
        ring.shrink(self.max_lines);
        drop(ring);
        if followed {
            // Everybody may have left in between: nothing is lost then.
            drop(self.live.send(batch));
        }
    }

    /// The remembered lines that pass, oldest first, as JSON.
    pub(crate) fn lines(&self, filter: &Filter) -> Vec<Box<RawValue>> {
        self.lines_and_follow(filter).0
    }

    /// The remembered lines that pass, and batches of all lines from exactly there on.
    pub(crate) fn lines_and_follow(
        &self,
        filter: &Filter,
    ) -> (Vec<Box<RawValue>>, broadcast::Receiver<Bytes>) {
        let (batches, surplus, live) = {
            let ring = self.ring.lock();
            let batches: Vec<_> = ring.batches.iter().map(|(batch, _)| batch.clone()).collect();
            (batches, ring.lines.saturating_sub(self.max_lines), self.live.subscribe())
        };
        let lines = batches.iter().flat_map(|batch| split(batch)).skip(surplus);
        let kept =
            lines.filter(|line| filter.keeps(line)).filter_map(|line| serde_json::from_slice(line).ok());
        (kept.collect(), live)
    }
}

impl Ring {
    /// Drops whole batches as long as enough lines stay; a surplus within the oldest is skipped when reading.
    fn shrink(&mut self, max_lines: usize) {
        while let Some((batch, lines)) = self.batches.front() {
            if self.lines - lines < max_lines && self.bytes <= MAX_BYTES {
                return;
            }
            self.lines -= lines;
            self.bytes -= batch.len();
            self.batches.pop_front();
        }
    }
}

impl Filter {
    /// The lines of a batch that pass, each with its newline.
    pub(crate) fn apply(&self, batch: &Bytes) -> Bytes {
        if *self == Self::default() {
            return batch.clone();
        }
        let kept = split(batch).filter(|line| self.keeps(line));
        let mut out = Vec::new();
        for line in kept {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        out.into()
    }

    fn keeps(&self, line: &[u8]) -> bool {
        if *self == Self::default() {
            return true;
        }
        let Ok(line) = serde_json::from_slice::<Value>(line) else { return false };
        let member = |name: &str| {
            let found = line.get(name).or_else(|| line.get("details").and_then(|details| details.get(name)));
            found.and_then(Value::as_str)
        };
        let of_agent = |wanted: &String| {
            ["agent_id", "agent", "package"]
                .iter()
                .filter_map(|name| member(name))
                .any(|id| names(wanted, id))
        };
        let severe = |least: &tracing::Level| {
            member("level")
                .and_then(|name| name.parse::<tracing::Level>().ok())
                .is_some_and(|level| level <= *least)
        };
        self.request_id.as_ref().is_none_or(|wanted| member("request_id") == Some(wanted))
            && self.level.as_ref().is_none_or(severe)
            && self.agent.as_ref().is_none_or(of_agent)
    }
}

/// Whether an id as an operator writes it means the agent or package with this full id.
pub(crate) fn names(wanted: &str, full: &str) -> bool {
    if wanted == full {
        return true;
    }
    if let Ok(AgentId { package, export }) = full.parse() {
        let (name, version) = (&package.name, &package.version);
        return [
            package.to_string(),
            name.to_string(),
            format!("{name}/{export}"),
            format!("{export}@{version}"),
            export.to_string(),
        ]
        .iter()
        .any(|id| id == wanted);
    }
    full.split_once('@').is_some_and(|(name, _)| name == wanted)
}

fn count(lines: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', lines).count()
}

fn skip(lines: &[u8], count: usize) -> &[u8] {
    let start = count.checked_sub(1).and_then(|last| memchr::memchr_iter(b'\n', lines).nth(last));
    lines.get(start.map_or(0, |at| at + 1)..).unwrap_or_default()
}

/// The last whole lines that have no more bytes than this.
fn newest(lines: &[u8], most: usize) -> &[u8] {
    let Some(before) = lines.len().checked_sub(most + 1) else { return lines };
    let end = lines.get(before..).and_then(|rest| memchr::memchr(b'\n', rest));
    end.and_then(|at| lines.get(before + at + 1..)).unwrap_or_default()
}

fn split(batch: &[u8]) -> impl Iterator<Item = &[u8]> {
    batch.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(recent: &RecentLines, numbers: std::ops::Range<usize>) {
        let lines: Vec<_> = numbers.map(|number| format!("{{\"n\":{number}}}\n")).collect();
        recent.feed(lines.concat().as_bytes());
    }

    fn seen(recent: &RecentLines) -> Vec<u64> {
        let lines = recent.lines(&Filter::default());
        lines
            .iter()
            .map(|line| serde_json::from_str::<Value>(line.get()).unwrap()["n"].as_u64().unwrap())
            .collect()
    }

    #[test]
    fn exactly_the_last_lines_are_kept() {
        let recent = RecentLines::new(5);
        assert!(seen(&recent).is_empty());
        feed(&recent, 0..3);
        assert_eq!(seen(&recent), [0, 1, 2]);
        feed(&recent, 3..7);
        assert_eq!(seen(&recent), [2, 3, 4, 5, 6]);
        feed(&recent, 7..8);
        assert_eq!(seen(&recent), [3, 4, 5, 6, 7]);
        feed(&recent, 8..100);
        assert_eq!(seen(&recent), [95, 96, 97, 98, 99]);
        assert_eq!(recent.ring.lock().batches.len(), 1);
    }

    #[test]
    fn memory_is_bounded_by_bytes_too() {
        let recent = RecentLines::new(1000);
        for _ in 0..8 {
            recent.feed(format!("\"{}\"\n", "x".repeat(1 << 20)).as_bytes());
        }
        assert!(recent.ring.lock().bytes <= MAX_BYTES);
        assert_eq!(recent.lines(&Filter::default()).len(), 3);
    }

    #[test]
    fn of_a_batch_that_is_too_large_the_newest_lines_are_kept() {
        let recent = RecentLines::new(1000);
        let long = format!("\"{}\"\n", "x".repeat(1 << 20));
        recent.feed(format!("{}{{\"n\":1}}\n{{\"n\":2}}\n", long.repeat(8)).as_bytes());
        let lines = recent.lines(&Filter::default());
        assert_eq!(lines.len(), 5);
        assert_eq!(lines.last().unwrap().get(), "{\"n\":2}");
        assert!(recent.ring.lock().bytes <= MAX_BYTES);
        assert_eq!(newest(b"ab\ncd\n", 6), b"ab\ncd\n");
        assert_eq!(newest(b"ab\ncd\n", 5), b"cd\n");
        assert_eq!(newest(b"ab\ncd\n", 3), b"cd\n");
        assert_eq!(newest(b"ab\ncd\n", 2), b"");
    }

    #[test]
    fn lines_are_found_by_agent_request_and_level() {
        let recent = RecentLines::new(100);
        recent.feed(
            br#"{"level":"info","event":"request","agent_id":"echo@1.0.0/say","request_id":"r1"}
{"level":"warn","event":"worker","details":{"agent_id":"echo@1.0.0/other","request_id":"r2"}}
{"level":"error","event":"load","details":{"package":"echo@1.0.0"}}
"#,
        );
        let found = |agent: &str, request: &str, level: Option<tracing::Level>| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            recent.lines(&Filter { agent: some(agent), request_id: some(request), level }).len()
        };
        assert_eq!(found("", "", None), 3);
        assert_eq!(found("echo", "", None), 3);
        for id in ["echo@1.0.0/say", "echo/say", "say", "say@1.0.0"] {
            assert_eq!(found(id, "", None), 1, "{id}");
        }
        assert_eq!(found("ech", "", None), 0);
        assert_eq!(found("", "r2", None), 1);
        assert_eq!(found("", "", Some(tracing::Level::WARN)), 2);
        assert_eq!(found("echo", "r1", Some(tracing::Level::WARN)), 0);
    }

    #[tokio::test]
    async fn followers_get_every_line_and_the_memory_the_last_ones() {
        let recent = RecentLines::new(1);
        let (_, mut live) = recent.lines_and_follow(&Filter::default());
        recent.feed(b"{\"n\":1}\n{\"n\":2}\n");
        assert_eq!(live.recv().await.unwrap(), "{\"n\":1}\n{\"n\":2}\n");
        assert_eq!(seen(&recent), [2]);
    }
}
