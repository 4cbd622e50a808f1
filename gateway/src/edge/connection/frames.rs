//! Frames of HTTP/2 as they arrive (RFC 9113 §4.1): counted before anything is done about them.
//!
//! The framework bounds what frames may hold in memory: streams, reset streams, headers and their
//! continuations, small pieces of data. It answers every PING and SETTINGS, takes every PRIORITY,
//! WINDOW_UPDATE and unknown frame, and resets streams as often as it is asked to, without an end. A client
//! that does honest work sends such frames in proportion to its requests and to what it is sent; what goes
//! far beyond is a flood.
//!
//! Only the nine bytes before each frame are looked at; nothing is copied and no clock is read unless there
//! are too many.

use std::time::{Duration, Instant};

/// What HTTP/2 begins with.
pub(crate) const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length, type, flags and stream.
const HEADER: usize = 9;

/// Frames without work that nobody minds in one window. A client that measures its line by PING sends one per
/// round trip while data flows, a few hundred a second on a fast network; half of this would meet such
/// clients, and twice as much is twice the work of a flood.
const FREE: u64 = 2_000;

/// Streams that may be reset in one window, whatever came of the others.
const FREE_RESETS: u64 = 200;

/// What a request allows: PINGs to measure the line, windows to be moved, its own end.
const PER_REQUEST: u64 = 4;

/// What was sent allows one more frame per this many bytes: a client may move two windows for every small
/// piece it gets. An answer to a PING has 17 bytes, so that a flood does not pay for itself.
const BYTES_PER_FRAME: u64 = 24;

/// Requests, and bytes sent, that are remembered to a client's credit.
const REMEMBERED_REQUESTS: u64 = 4_096;
const REMEMBERED_BYTES: u64 = 1 << 20;

/// The time in which frames are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// What is known after some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Frames end where the bytes do, or within data.
    Whole,
    /// The preface, or the head of a request, has begun and not ended.
    Head,
}

/// Why a connection is not to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// This is not HTTP/2.
    Preface,
    /// More frames without work than any client needs.
    Flood,
}

/// The frames of one connection.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Bytes of the preface that have come.
    begun: usize,
    /// The beginning of a frame whose rest has not come.
    header: [u8; HEADER],
    /// How much of it has come.
    filled: usize,
    /// Bytes of the frame's content that have not come.
    content: usize,
    /// Within HEADERS or CONTINUATION.
    in_head: bool,
    /// A head goes on in the next frame.
    continued: bool,
    /// The first frame is there.
    opened: bool,
    idle: u64,
    resets: u64,
    requests: u64,
    sent: u64,
    window: Option<Instant>,
}

impl Frames {
    /// Looks at bytes that came.
    pub(super) fn take(&mut self, mut bytes: &[u8], now: impl Fn() -> Instant) -> Result<Seen, Fault> {
        if let Some(rest) = PREFACE.get(self.begun..).filter(|rest| !rest.is_empty()) {
            let length = rest.len().min(bytes.len());
            let (begin, after) = bytes.split_at(length);
            if !rest.starts_with(begin) {
                return Err(Fault::Preface);
            }
            self.begun += length;
            bytes = after;
        }
        while !bytes.is_empty() {
            if self.content > 0 {
                let length = self.content.min(bytes.len());
                self.content -= length;
                bytes = bytes.get(length..).unwrap_or_default();
                continue;
            }
            let length = (HEADER - self.filled).min(bytes.len());
            let (begin, after) = bytes.split_at(length);
            if let Some(place) = self.header.get_mut(self.filled..self.filled + length) {
                place.copy_from_slice(begin);
            }
            self.filled += length;
            bytes = after;
            if self.filled == HEADER {
                self.filled = 0;
                self.frame(&now)?;
            }
        }
        let whole = self.opened && !self.continued && !(self.in_head && self.content > 0);
        Ok(if whole { Seen::Whole } else { Seen::Head })
    }

    /// Notes bytes that were sent: they allow the other side frames.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    fn frame(&mut self, now: &impl Fn() -> Instant) -> Result<(), Fault> {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.content = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.opened = true;
        self.in_head = false;
        let (end_or_acknowledged, end_of_head) = (flags & 1 != 0, flags & 4 != 0);
        match kind {
            // DATA
            0 => self.idle += u64::from(self.content == 0 && !end_or_acknowledged),
            // HEADERS
            1 => {
                self.requests += 1;
                self.in_head = true;
                self.continued = !end_of_head;
            }
            // RST_STREAM
            3 => self.resets += 1,
            // SETTINGS and PING that want no answer
            4 | 6 if end_or_acknowledged => {}
            // CONTINUATION
            9 => {
                self.idle += u64::from(self.content == 0);
                self.in_head = true;
                self.continued = !end_of_head;
            }
            // PRIORITY, SETTINGS, PING, WINDOW_UPDATE and what nobody knows
            _ => self.idle += 1,
        }
        self.judge(now)
    }

    fn judge(&mut self, now: &impl Fn() -> Instant) -> Result<(), Fault> {
        if self.requests > REMEMBERED_REQUESTS || self.sent > REMEMBERED_BYTES {
            self.forget();
        }
        let idle = FREE + PER_REQUEST * self.requests + self.sent / BYTES_PER_FRAME;
        if self.idle <= idle && self.resets <= FREE_RESETS + self.requests / 2 {
            return Ok(());
        }
        let now = now();
        // Where nobody looked at the clock so far, it counts from here on, and all of it once more.
        if self.window.is_some_and(|begin| now.duration_since(begin) < WINDOW) {
            return Err(Fault::Flood);
        }
        self.window = Some(now);
        (self.idle, self.resets, self.requests, self.sent) = (0, 0, 0, 0);
        Ok(())
    }

    /// Forgets half of what was, so that a long honest past allows no flood.
    fn forget(&mut self) {
        for count in [&mut self.idle, &mut self.resets, &mut self.requests, &mut self.sent] {
            *count /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

    fn frame(kind: u8, flags: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], content].concat()
    }

    fn opened() -> Frames {
        let mut frames = Frames::default();
        let begin = [&PREFACE, SETTINGS].concat();
        assert_eq!(frames.take(&begin, Instant::now), Ok(Seen::Whole));
        frames
    }

    /// Sends a frame until it is too much; how often that was.
    fn flood(frames: &mut Frames, kind: u8, flags: u8, content: &[u8]) -> Option<usize> {
        let frame = frame(kind, flags, content);
        let begin = Instant::now();
        (0..100_000).find(|_| frames.take(&frame, || begin) == Err(Fault::Flood))
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let wire =
            [&PREFACE, SETTINGS, &frame(1, 4, b"head"), &frame(0, 1, &[7; 300]), &frame(6, 0, &[0; 8])]
                .concat();
        for size in [1, 2, 7, 9, 10, 33, 1000] {
            let mut frames = Frames::default();
            for piece in wire.chunks(size) {
                frames.take(piece, Instant::now).unwrap();
            }
            let found = (frames.requests, frames.idle, frames.content, frames.filled);
            assert_eq!(found, (1, 2, 0, 0), "pieces of {size}");
        }
    }

    #[test]
    fn a_head_is_open_until_its_last_byte() {
        let mut frames = Frames::default();
        assert_eq!(frames.take(&PREFACE[..10], Instant::now), Ok(Seen::Head));
        assert_eq!(frames.take(&PREFACE[10..], Instant::now), Ok(Seen::Head), "the settings are part of it");
        assert_eq!(frames.take(SETTINGS, Instant::now), Ok(Seen::Whole));
        let head = frame(1, 0, b"part");
        assert_eq!(frames.take(&head[..11], Instant::now), Ok(Seen::Head));
        assert_eq!(frames.take(&head[11..], Instant::now), Ok(Seen::Head), "it is to be continued");
        assert_eq!(frames.take(&frame(9, 4, b"rest"), Instant::now), Ok(Seen::Whole));
        let data = frame(0, 0, b"slow");
        assert_eq!(
            frames.take(&data[..10], Instant::now),
            Ok(Seen::Whole),
            "bodies have a floor of their own"
        );
    }

    #[test]
    fn what_is_not_http_2_is_told_at_its_first_wrong_byte() {
        let mut frames = Frames::default();
        assert_eq!(frames.take(b"PRI * HTTP/1.1", Instant::now), Err(Fault::Preface));
    }

    #[test]
    fn frames_that_ask_for_work_and_bring_none_are_a_flood() {
        for (name, kind, flags, content) in [
            ("PING", 6, 0, &[0; 8][..]),
            ("SETTINGS", 4, 0, &[]),
            ("PRIORITY", 2, 0, &[0; 5]),
            ("WINDOW_UPDATE", 8, 0, &[0, 0, 0, 1]),
            ("empty DATA", 0, 0, &[]),
            ("unknown", 0x20, 0, &[]),
            ("RST_STREAM", 3, 0, &[0; 4]),
            ("empty CONTINUATION", 9, 0, &[]),
        ] {
            let stopped = flood(&mut opened(), kind, flags, content);
            assert!(stopped.is_some_and(|count| count < 10_000), "{name}: {stopped:?}");
        }
        let mut answers = opened();
        assert_eq!(flood(&mut answers, 6, 1, &[0; 8]), None, "answers to our own PINGs are none");
    }

    #[test]
    fn a_flood_does_not_pay_for_itself_by_the_answers_it_gets() {
        let mut frames = opened();
        let ping = frame(6, 0, &[0; 8]);
        let begin = Instant::now();
        let stopped = (0..100_000).find(|_| {
            frames.sent(17);
            frames.take(&ping, || begin) == Err(Fault::Flood)
        });
        assert!(stopped.is_some());
    }

    #[test]
    fn honest_work_is_never_a_flood() {
        let mut frames = opened();
        let begin = Instant::now();
        for _ in 0..50_000 {
            frames.take(&frame(1, 5, b"head"), || begin).unwrap();
            frames.take(&frame(6, 0, &[0; 8]), || begin).unwrap();
            frames.sent(200);
            frames.take(&frame(8, 0, &[0, 0, 1, 0]), || begin).unwrap();
            frames.take(&frame(8, 0, &[0, 0, 1, 0]), || begin).unwrap();
        }
        for _ in 0..50_000 {
            frames.take(&frame(1, 5, b"head"), || begin).unwrap();
            frames.take(&frame(1, 5, b"head"), || begin).unwrap();
            frames.take(&frame(3, 0, &[0; 4]), || begin).unwrap();
        }
    }

    #[test]
    fn a_long_honest_past_allows_no_flood() {
        let mut frames = opened();
        for _ in 0..100_000 {
            frames.take(&frame(1, 5, b"head"), Instant::now).unwrap();
            frames.sent(10_000);
        }
        assert!(flood(&mut frames, 6, 0, &[0; 8]).is_some_and(|count| count < 70_000));
    }

    #[test]
    fn a_slow_drip_of_pings_over_hours_is_no_flood() {
        let mut frames = opened();
        let ping = frame(6, 0, &[0; 8]);
        let begin = Instant::now();
        for second in 0..36_000 {
            frames.take(&ping, || begin + Duration::from_secs(second)).unwrap();
        }
    }
}
