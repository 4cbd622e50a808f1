//! `grpc.health.v1.Health`: its request and its answer.

use super::wire::{Fields, Malformed, Message};

/// Whether a service answers; numbers as in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Serving {
    /// It does.
    Yes = 1,
    /// It does not now.
    No = 2,
    /// There is none of that name; only told to those who watch.
    Unknown = 3,
}

impl Serving {
    /// `HealthCheckResponse`.
    pub(crate) fn bytes(self) -> Vec<u8> {
        Message::default().number(1, u64::from(self as u8)).bytes()
    }
}

/// The service that a `HealthCheckRequest` asks for; empty for the whole.
pub(crate) fn health_check(message: &[u8]) -> Result<String, Malformed> {
    let mut service = "";
    for field in Fields::of(message) {
        if let (1, value) = field? {
            service = value.text()?;
        }
    }
    Ok(service.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_names_a_service_or_none() {
        assert_eq!(health_check(b""), Ok(String::new()));
        assert_eq!(health_check(b"\x0a\x03a.B"), Ok("a.B".to_owned()));
        assert!(health_check(b"\x0a\x09a").is_err());
        assert_eq!(Serving::Yes.bytes(), [8, 1]);
        assert_eq!(Serving::No.bytes(), [8, 2]);
        assert_eq!(Serving::Unknown.bytes(), [8, 3]);
    }
}
