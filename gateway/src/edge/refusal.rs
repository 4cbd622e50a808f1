//! A request that is not answered with a result: one value, two texts.

use std::{borrow::Cow, time::Duration};

use par_proto::code::{Code, Grpc};

/// Why, for the client and for the log.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Decides the status.
    pub(crate) code: Code,
    /// The status of gRPC, where it is not the one of the code.
    pub(crate) grpc: Option<Grpc>,
    /// One sentence for the client.
    pub(crate) detail: Cow<'static, str>,
    /// When another try makes sense.
    pub(crate) retry_after: Option<Duration>,
    /// Methods that the route knows, for 405.
    pub(crate) allow: Option<&'static str>,
    /// Bytes of a file that has not those that were asked for, for 416.
    pub(crate) size: Option<u64>,
    /// `WWW-Authenticate` of a 401; the plain `Bearer` if none.
    pub(crate) challenge: Option<&'static str>,
    /// The agent's own error, as in `FRAMES.md`, kind `ERROR`.
    pub(crate) fault: Option<Box<serde_json::Value>>,
    /// Where the input does not fit: `[{"path","message","schema_path"}]`.
    pub(crate) errors: Option<Box<serde_json::value::RawValue>>,
    /// The connection cannot be used again: unread input is on its way.
    pub(crate) close: bool,
}

impl Refusal {
    /// A refusal with its text.
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            grpc: None,
            detail: detail.into(),
            retry_after: None,
            allow: None,
            size: None,
            challenge: None,
            fault: None,
            errors: None,
            close: false,
        }
    }

    /// A service, a method or a form of gRPC that is not offered.
    pub(crate) fn unimplemented(detail: impl Into<Cow<'static, str>>) -> Self {
        Self { grpc: Some(Grpc::Unimplemented), ..Self::new(Code::NotFound, detail) }
    }

    /// Why, for the log: what the agent raised, or what the client is told.
    pub(super) fn cause(&self) -> String {
        match &self.fault {
            Some(fault) => format!("{}: {}", text(fault, "type"), text(fault, "message")),
            None => self.detail.clone().into_owned(),
        }
    }

    /// Where the agent raised, if it did.
    pub(super) fn traceback(&self) -> Option<String> {
        self.fault.as_ref().map(|fault| text(fault, "traceback")).filter(|text| !text.is_empty())
    }

    /// There are as many calls as `MAX_CONCURRENT_INVOCATIONS` allows, running or waiting, whoever they are for.
    pub(crate) fn at_limit(retry_after: Duration) -> Self {
        Self::new(Code::QueueFull, "as many calls run or wait as this runtime takes").retry_after(retry_after)
    }

    /// With the time of the next try.
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// On a connection that cannot be used again.
    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }
}

/// A text in what an agent says of its error.
pub(super) fn text(fault: &serde_json::Value, name: &str) -> String {
    fault.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}
