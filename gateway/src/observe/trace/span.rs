//! One span, as it is kept until it is sent.

use std::{
    borrow::Cow,
    time::{Duration, Instant, SystemTime},
};

use par_proto::code::Code;

use super::context::{SpanId, TraceId};

/// What a span is to the one that caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Work within a process.
    Internal,
    /// A request that was answered.
    Server,
    /// A request that was made.
    Client,
}

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(i64),
    /// Any number.
    Fraction(f64),
    /// Yes or no.
    Truth(bool),
    /// Several, of plain values.
    Several(Vec<Value>),
}

/// A span that is over.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    /// Its trace.
    pub(crate) trace: TraceId,
    /// `tracestate` of the trace, empty if there is none.
    pub(crate) state: Option<Box<str>>,
    /// Itself.
    pub(crate) id: SpanId,
    /// What caused it.
    pub(crate) parent: Option<SpanId>,
    /// What it is.
    pub(crate) kind: Kind,
    /// Its name.
    pub(crate) name: Cow<'static, str>,
    /// Nanoseconds since 1970.
    pub(crate) begin: u64,
    /// The same; never before the begin.
    pub(crate) end: u64,
    /// What is said of it.
    pub(crate) attributes: Vec<(Cow<'static, str>, Value)>,
    /// Why it has failed, empty where no more is known; `None`: it has not.
    pub(crate) failure: Option<Cow<'static, str>>,
}

impl Span {
    /// Says more of it.
    pub(crate) fn put(&mut self, name: &'static str, value: impl Into<Value>) {
        self.attributes.push((Cow::Borrowed(name), value.into()));
    }

    /// Says how it ended. What a caller does wrong is no failure of who answers.
    pub(crate) fn end_with(&mut self, code: Option<Code>) {
        let Some(code) = code else { return };
        self.put("error.type", code.text());
        if self.kind != Kind::Server || code.http() >= 500 {
            self.failure = Some(Cow::Borrowed(code.text()));
        }
    }
}

/// The two clocks of a process at one moment: spans are measured by the one that never jumps and told by the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    instant: Instant,
    wall: u64,
}

impl Clock {
    /// Both clocks now; `begin` is when what is told began.
    pub(crate) fn at(begin: Instant) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { instant: begin, wall: nanoseconds(now.saturating_sub(begin.elapsed())) }
    }

    /// Nanoseconds since 1970 of a moment.
    pub(crate) fn wall(&self, moment: Instant) -> u64 {
        self.wall.saturating_add(nanoseconds(moment.saturating_duration_since(self.instant)))
    }
}

pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Fraction(number)
    }
}
