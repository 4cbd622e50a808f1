//! What a server was asked, and what it was told to do wrong: shared by the servers of the harness.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Instant,
};

/// One request, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// When its head was whole.
    pub(crate) at: Instant,
    /// `GET`.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// The whole head.
    head: String,
    /// The status of the answer; 0 until there was one.
    pub(crate) status: u16,
}

impl Asked {
    /// Reads the head of a request.
    pub(crate) fn parse(head: &str) -> Self {
        let mut words = head.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        Self { at: Instant::now(), method: word(), path: word(), head: head.to_owned(), status: 0 }
    }

    /// A header of the request.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// Where a request for the rest begins.
    pub(crate) fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.split('-').next()?.parse().ok()
    }
}

/// What goes wrong with one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    Pass,
    /// The connection is reset after this many bytes of the body.
    Reset(usize),
    /// Nothing comes after this many bytes of the body, and the connection stays.
    Stall(usize),
    /// The connection ends in order after this many bytes of the body, fewer than announced.
    Truncate(usize),
    /// The byte at this place of the body is another one.
    Flip(usize),
    /// The server is not asked: this status, and after how many seconds to come again.
    Status(u16, Option<u32>),
}

/// How a connection ends after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// In order.
    Close,
    /// By a reset.
    Reset,
    /// Not at all.
    Stall,
}

impl Fault {
    /// An answer as it leaves, and how its connection ends.
    pub(crate) fn spoil(self, mut answer: Vec<u8>) -> (Vec<u8>, Ending) {
        let body = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
        match self {
            Self::Pass => (answer, Ending::Close),
            Self::Flip(at) => {
                if let Some(byte) = answer.get_mut(body + at) {
                    *byte ^= 0x20;
                }
                (answer, Ending::Close)
            }
            Self::Status(status, again) => {
                let again = again.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
                let head =
                    format!("HTTP/1.1 {status} x\r\n{again}Content-Length: 0\r\nConnection: close\r\n\r\n");
                (head.into_bytes(), Ending::Close)
            }
            Self::Reset(bytes) => (cut(answer, body + bytes), Ending::Reset),
            Self::Stall(bytes) => (cut(answer, body + bytes), Ending::Stall),
            Self::Truncate(bytes) => (cut(answer, body + bytes), Ending::Close),
        }
    }
}

fn cut(mut answer: Vec<u8>, at: usize) -> Vec<u8> {
    answer.truncate(at);
    answer
}

#[derive(Debug, Default)]
struct State {
    asked: Vec<Asked>,
    once: VecDeque<(String, Fault)>,
    always: Vec<(String, Fault)>,
}

/// What was asked so far, and what will go wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script(Arc<Mutex<State>>);

impl Script {
    /// The next answers to requests whose path holds these words go wrong like this, one after the other.
    pub(crate) fn then(&self, words: &str, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().map(|fault| (words.to_owned(), fault));
        self.state(|state| state.once.extend(faults));
    }

    /// All answers to requests whose path holds these words go wrong like this.
    pub(crate) fn always(&self, words: &str, fault: Fault) {
        self.state(|state| state.always.insert(0, (words.to_owned(), fault)));
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        self.state(|state| {
            state.once.clear();
            state.always.clear();
        });
    }

    /// Requests whose path holds these words, in order.
    pub(crate) fn asked(&self, words: &str) -> Vec<Asked> {
        self.state(|state| state.asked.iter().filter(|asked| asked.path.contains(words)).cloned().collect())
    }

    /// Takes note of a request; returns its place and what goes wrong with it.
    pub(crate) fn begin(&self, asked: Asked) -> (usize, Fault) {
        self.state(|state| {
            let fits = |words: &str| asked.path.contains(words);
            let once = state.once.iter().position(|(words, _)| fits(words));
            let fault = match once.and_then(|at| state.once.remove(at)) {
                Some((_, fault)) => fault,
                None => state
                    .always
                    .iter()
                    .find(|(words, _)| fits(words))
                    .map_or(Fault::Pass, |(_, fault)| *fault),
            };
            state.asked.push(asked);
            (state.asked.len() - 1, fault)
        })
    }

    /// Takes note of what was answered.
    pub(crate) fn end(&self, place: usize, answer: &[u8]) {
        let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        self.state(|state| state.asked[place].status = status.unwrap_or(0));
    }

    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().expect("no holder panics"))
    }
}
