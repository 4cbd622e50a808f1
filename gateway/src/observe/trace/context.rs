//! W3C Trace Context (level 1): `traceparent` and `tracestate`, read strictly. Pure.

use std::fmt;

/// 16 bytes, not all of them zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TraceId(pub(crate) [u8; 16]);

/// 8 bytes, not all of them zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SpanId(pub(crate) [u8; 8]);

/// What `traceparent` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceParent {
    /// The trace.
    pub(crate) trace: TraceId,
    /// The span in which what follows was caused.
    pub(crate) span: SpanId,
    /// Whether whoever caused it keeps the trace.
    pub(crate) sampled: bool,
}

/// Bytes of version 00, and of what later versions must begin with.
const LENGTH: usize = 55;

/// Most members of `tracestate`; a longer list may be dropped whole (W3C Trace Context, 3.3.1.1).
const MEMBERS: usize = 32;

/// Longest `tracestate` that is passed on: what everybody has to pass on (3.3.1.5), and no more.
const STATE: usize = 512;

impl TraceParent {
    /// Reads `00-<32 hex>-<16 hex>-<2 hex>`, in lower case. Of later versions the same begin counts (3.2.2).
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let head = text.get(..LENGTH)?;
        let rest = text.get(LENGTH..)?;
        let [version] = bytes(head.get(..2)?)?;
        let is_whole =
            if version == 0 { rest.is_empty() } else { rest.first().is_none_or(|next| *next == b'-') };
        let is_parted = [2, 35, 52].iter().all(|at| head.get(*at) == Some(&b'-'));
        if version == u8::MAX || !is_whole || !is_parted {
            return None;
        }
        let trace = TraceId(bytes(head.get(3..35)?)?);
        let span = SpanId(bytes(head.get(36..52)?)?);
        let [flags] = bytes(head.get(53..)?)?;
        let is_named = trace.0 != [0; 16] && span.0 != [0; 8];
        is_named.then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

impl SpanId {
    /// Reads 16 hexadecimal digits in lower case.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        bytes(text).filter(|id| *id != [0; 8]).map(Self)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// Whether a text is a `tracestate` that may be passed on: members `key=value` of characters that may stand there.
pub(crate) fn is_tracestate(text: &[u8]) -> bool {
    text.len() <= STATE
        && text.split(|byte| *byte == b',').count() <= MEMBERS
        && text
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .all(|one| one.is_empty() || is_member(one))
}

fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = member.split_at(at);
    let is_key = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@')
    };
    let is_value = |byte: &u8| matches!(byte, 0x20..=0x7e) && !matches!(byte, b',' | b'=');
    let value = value.get(1..).unwrap_or_default();
    (1..=256).contains(&key.len())
        && key.iter().all(is_key)
        && key.first().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
        && (1..=256).contains(&value.len())
        && value.iter().all(is_value)
}

/// Hexadecimal digits in lower case.
fn bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut out = [0; N];
    hex::decode_to_slice(text, &mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let read = TraceParent::read(GOOD.as_bytes()).unwrap();
        assert_eq!(read.to_string(), GOOD);
        assert!(read.sampled);
        for (text, sampled) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03", true),
            ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes", true),
        ] {
            assert_eq!(TraceParent::read(text.as_bytes()).map(|read| read.sampled), Some(sampled), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_in_any_place_is_none() {
        for text in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e473\"-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_tracestate_is_members_of_plain_characters() {
        for text in ["", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "a=b , c@d=e f,", "0x=1"] {
            assert!(is_tracestate(text.as_bytes()), "{text}");
        }
        let many = vec!["a=b"; 33].join(",");
        let long = format!("a={}", "b".repeat(511));
        for text in ["a", "=b", "A=b", "a=", "a=b=c", "a=\u{1}", "a=ä", many.as_str(), long.as_str()] {
            assert!(!is_tracestate(text.as_bytes()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(text in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(read) = TraceParent::read(&text) {
                prop_assert_eq!(TraceParent::read(read.to_string().as_bytes()), Some(read));
            }
            is_tracestate(&text);
        }
    }
}
