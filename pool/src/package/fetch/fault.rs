//! Why one try failed: an error of a library or a status enters, what to tell and whether to try again
//! leaves.

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};

use crate::package::{Cause, PullError, Step};

/// A try that failed.
#[derive(Debug)]
pub(super) struct Fault {
    /// What to tell if no other try follows.
    pub(super) error: PullError,
    /// What the next try may be.
    pub(super) next: Next,
}

/// What may follow a try that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: another try ends the same way.
    Nothing,
    /// Another try that continues this one, not before this time has passed.
    Another(Duration),
    /// Another try that begins at the first byte: what is there does not fit what the server has now.
    Anew,
}

impl Fault {
    /// No other try.
    pub(super) fn refused(detail: String) -> Self {
        PullError::refused(Step::Fetch, detail).into()
    }

    /// Another try may succeed.
    pub(super) fn transient(detail: String) -> Self {
        Self { error: PullError::transient(Step::Fetch, detail), next: Next::Another(Duration::ZERO) }
    }

    /// The server's content is another one than before.
    pub(super) fn changed(place: &str) -> Self {
        let detail = format!("{place} changed while it was downloaded");
        Self { error: PullError::transient(Step::Fetch, detail), next: Next::Anew }
    }

    /// A server said nothing for the idle timeout.
    pub(super) fn silence(place: &str, idle: Duration) -> Self {
        Self::transient(format!("{place} sent nothing for {} s", idle.as_secs_f32()))
    }

    /// An answer that is no content. `what` is the status as text.
    pub(super) fn status(place: &str, status: u16, what: &str, retry_after: Option<&str>) -> Self {
        let detail = format!("{place} answered {what}");
        let wait = retry_after.and_then(|text| wait(text, SystemTime::now())).unwrap_or_default();
        match status {
            408 | 429 | 500..=599 => Self { next: Next::Another(wait), ..Self::transient(detail) },
            // The end of what we have lies beyond the end of what there is, or the tag is another one.
            412 | 416 => Self { next: Next::Anew, ..Self::transient(detail) },
            401 | 403 => PullError::refused(Step::Fetch, detail).because(Cause::Forbidden).into(),
            404 | 410 => PullError::refused(Step::Fetch, detail).because(Cause::Missing).into(),
            _ => Self::refused(detail),
        }
    }

    /// A certificate that no retry makes trusted, if that is what an error is about.
    pub(super) fn certificate(place: &str, error: &(dyn Error + 'static)) -> Option<Self> {
        let cause = certificate_fault(error)?;
        Some(Self::refused(format!("{place} has no certificate that is trusted here: {cause}")))
    }

    /// Adds what only the log should see.
    pub(super) fn with_log(mut self, log: String) -> Self {
        self.error.log = log;
        self
    }

    /// Adds advice.
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.error.hint = Some(hint.into());
        self
    }
}

/// An error of our own side: no other try.
impl From<PullError> for Fault {
    fn from(error: PullError) -> Self {
        Self { error, next: Next::Nothing }
    }
}

/// The time of a `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
fn wait(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::from_str(text, DateTimeFormat::HttpDate).ok()?;
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(date.secs()).ok()?);
    Some(date.duration_since(now).unwrap_or_default())
}

/// The TLS library's verdict, if that is why a connection failed.
fn certificate_fault(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(cause) = next {
        // An I/O error hides what it wraps from `source`, and layers wrap it again.
        let mut inner: Option<&(dyn Error + 'static)> = Some(cause);
        while let Some(io) = inner.and_then(|inner| inner.downcast_ref::<std::io::Error>()) {
            inner = io.get_ref().map(|inner| inner as &(dyn Error + 'static));
        }
        let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::InvalidCertificate(fault)) = tls {
            return Some(fault.to_string());
        }
        next = cause.source();
    }
    None
}

/// The causes below an error, outermost first. Its own text is left out: it may contain the whole URL.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut texts = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_say_whether_another_try_makes_sense() {
        let next = |status| {
            let fault = Fault::status("x", status, "so", Some("7"));
            assert_eq!(fault.error.transient, fault.next != Next::Nothing);
            (fault.next, fault.error.cause)
        };
        for status in [408, 429, 500, 502, 503, 599] {
            assert_eq!(next(status), (Next::Another(Duration::from_secs(7)), Cause::Other), "{status}");
        }
        for status in [412, 416] {
            assert_eq!(next(status), (Next::Anew, Cause::Other), "{status}");
        }
        for (status, cause) in [
            (401, Cause::Forbidden),
            (403, Cause::Forbidden),
            (404, Cause::Missing),
            (410, Cause::Missing),
            (400, Cause::Other),
            (204, Cause::Other),
        ] {
            assert_eq!(next(status), (Next::Nothing, cause), "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(wait("120", now), Some(Duration::from_secs(120)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:47 GMT", now), Some(Duration::from_secs(10)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:27 GMT", now), Some(Duration::ZERO));
        for nonsense in ["", "-1", "soon", "1.5"] {
            assert_eq!(wait(nonsense, now), None, "{nonsense:?}");
        }
    }
}
