//! What the head of a request must be before anything is done about it. Pure: a head in, nothing or a
//! [`Flaw`] out.
//!
//! The framework's parser has refused what is no HTTP at all: folded headers, control bytes and NUL in names
//! and values, lengths that are no numbers or contradict each other, a `Host` that contradicts the target.
//! What is decided here is what it lets through and others read differently. A path may have one spelling
//! only that means something: `%2F` and `%40` of agent ids are decoded once, by the router, and what could be
//! decoded into another path is refused.
//!
//! Nothing is allocated for a head that is in order, except where its path has encoded bytes beyond ASCII.

use http::{Method, Version, header};
use memchr::memchr_iter;
use par_proto::code::Code;
use percent_encoding::percent_decode;
use pingora_http::RequestHeader;

use super::refusal::Refusal;
use crate::config::Hosts;

/// Longest path and query. Ids are short and inputs stand in bodies: 16 KiB are what browsers and proxies
/// agree on.
pub(super) const LONGEST_TARGET: usize = 16 * 1024;

/// Most lines of a head. Browsers behind three proxies send fifty; each line is an entry of a table to us.
pub(super) const MOST_FIELDS: usize = 128;

/// Methods that may be asked for, for 405.
const METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";

/// Paths of probes: load balancers ask by address.
const PROBES: [&str; 3] = ["/health", "/runtime/health", "/runtime/live"];

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub(crate) enum Flaw {
    /// CONNECT or TRACE.
    Method,
    /// The path and query are too long.
    TargetTooLong,
    /// The head has too many bytes.
    HeadTooLarge,
    /// The head has too many lines.
    TooManyFields,
    /// HTTP/1.1 without `Host`, or several.
    HostMissing,
    /// `Host` is no host.
    HostMalformed,
    /// `Host` is none of ours.
    HostForeign,
    /// A line that ends in a bare LF.
    BareLineFeed,
    /// Both a length and an encoding.
    LengthAndEncoding,
    /// An encoding other than `chunked`, or in HTTP/1.0.
    Encoding,
    /// Several lengths, or one that is no number.
    Length,
    /// The target is neither a path nor an address of HTTP.
    Target,
    /// The path has a byte that may not stand there, as it is or encoded.
    PathByte,
    /// A `%` without two hexadecimal digits.
    PathEscape,
    /// Encoded bytes that are no UTF-8.
    PathEncoding,
    /// `.` or `..` as a segment, as it is or encoded.
    DotSegment,
}

impl Flaw {
    /// The code of the answer.
    pub(super) const fn code(self) -> Code {
        match self {
            Self::Method => Code::MethodNotAllowed,
            Self::TargetTooLong => Code::UriTooLong,
            Self::HeadTooLarge | Self::TooManyFields => Code::HeadersTooLarge,
            Self::HostMissing
            | Self::HostMalformed
            | Self::HostForeign
            | Self::BareLineFeed
            | Self::LengthAndEncoding
            | Self::Encoding
            | Self::Length
            | Self::Target
            | Self::PathByte
            | Self::PathEscape
            | Self::PathEncoding
            | Self::DotSegment => Code::BadRequest,
        }
    }

    /// One sentence for the client.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Method => "this method is not offered",
            Self::TargetTooLong => "the path and query are longer than this runtime takes",
            Self::HeadTooLarge => "the headers are larger than this runtime takes",
            Self::TooManyFields => "there are more headers than this runtime takes",
            Self::HostMissing => "one Host header is needed",
            Self::HostMalformed => "the Host header is no host",
            Self::HostForeign => "this runtime does not answer for that host",
            Self::BareLineFeed => "a line of the head does not end in CR LF",
            Self::LengthAndEncoding => "Content-Length and Transfer-Encoding exclude each other",
            Self::Encoding => "the only Transfer-Encoding is chunked, in HTTP/1.1",
            Self::Length => "one Content-Length is allowed, and it must be a number",
            Self::Target => "the target of the request is neither a path nor an http address",
            Self::PathByte => "the path has a byte that may not stand in a path",
            Self::PathEscape => "the path has a % that is not followed by two hexadecimal digits",
            Self::PathEncoding => "the path is not UTF-8",
            Self::DotSegment => "the path has a . or .. as a segment",
        }
    }

    /// The answer. The connection ends: where a client and we read a head differently, the next one cannot be
    /// trusted.
    pub(super) fn refusal(self) -> Refusal {
        let mut refusal = Refusal::new(self.code(), self.text()).closing();
        refusal.allow = (self == Self::Method).then_some(METHODS);
        refusal
    }
}

/// What heads may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    /// Most bytes of names, values and target.
    pub(super) header_bytes: u64,
    /// Names that requests may be for.
    pub(super) hosts: &'a Hosts,
}

/// Looks at a head. `raw` is what was on the wire, in HTTP/1; empty in HTTP/2, whose frames leave no room for
/// doubt.
pub(super) fn inspect(request: &RequestHeader, raw: &[u8], rules: Rules<'_>) -> Result<(), Flaw> {
    if request.method == Method::CONNECT || request.method == Method::TRACE {
        return Err(Flaw::Method);
    }
    size(request, rules.header_bytes)?;
    lines(raw)?;
    host(request, rules.hosts)?;
    framing(request, raw)?;
    target(request)?;
    path(request.uri.path().as_bytes())
}

fn size(request: &RequestHeader, most: u64) -> Result<(), Flaw> {
    let target = request.raw_path().len();
    if target > LONGEST_TARGET {
        return Err(Flaw::TargetTooLong);
    }
    if request.headers.len() > MOST_FIELDS {
        return Err(Flaw::TooManyFields);
    }
    let fields: usize =
        request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if (fields + target) as u64 > most { Err(Flaw::HeadTooLarge) } else { Ok(()) }
}

/// The parser takes a bare LF for the end of a line. Others do not, and would see another head.
fn lines(raw: &[u8]) -> Result<(), Flaw> {
    let ends = |at: usize| at.checked_sub(1).and_then(|before| raw.get(before)) == Some(&b'\r');
    if memchr_iter(b'\n', raw).all(ends) { Ok(()) } else { Err(Flaw::BareLineFeed) }
}

fn host(request: &RequestHeader, hosts: &Hosts) -> Result<(), Flaw> {
    let mut given = request.headers.get_all(header::HOST).iter();
    let (first, second) = (given.next(), given.next());
    if second.is_some() || (first.is_none() && request.version == Version::HTTP_11) {
        return Err(Flaw::HostMissing);
    }
    // In HTTP/2 the authority stands for it; where both are there, the framework has seen to it that they are
    // equal.
    let authority = request.uri.authority().map(http::uri::Authority::as_str);
    let name = match (first, authority) {
        (Some(host), _) => host.to_str().map_err(|_| Flaw::HostMalformed)?,
        (None, Some(authority)) => authority,
        (None, None) => "",
    };
    let belongs = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if !name.bytes().all(belongs) {
        return Err(Flaw::HostMalformed);
    }
    if hosts.allow(name) || PROBES.contains(&request.uri.path()) { Ok(()) } else { Err(Flaw::HostForeign) }
}

fn framing(request: &RequestHeader, raw: &[u8]) -> Result<(), Flaw> {
    let mut encodings = request.headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next() {
        let is_only = encodings.next().is_none() && encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !is_only || request.version != Version::HTTP_11 {
            return Err(Flaw::Encoding);
        }
        // The framework has taken away a length that stood beside it.
        if request.headers.contains_key(header::CONTENT_LENGTH) || names(raw, b"content-length") {
            return Err(Flaw::LengthAndEncoding);
        }
    }
    let mut lengths = request.headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let digits = length.as_bytes();
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        if !is_number || lengths.next().is_some() {
            return Err(Flaw::Length);
        }
    }
    Ok(())
}

/// Whether a line of a raw head begins with a name.
fn names(raw: &[u8], name: &[u8]) -> bool {
    memchr_iter(b'\n', raw).any(|at| {
        let line = raw.get(at + 1..).unwrap_or_default();
        let (begin, rest) = line.split_at(name.len().min(line.len()));
        begin.eq_ignore_ascii_case(name) && rest.first() == Some(&b':')
    })
}

fn target(request: &RequestHeader) -> Result<(), Flaw> {
    let raw = request.raw_path();
    if !raw.iter().all(|byte| matches!(byte, 0x21..=0x7e)) {
        return Err(Flaw::PathByte);
    }
    let is_path = raw.starts_with(b"/") || (raw == b"*" && request.method == Method::OPTIONS);
    let is_address =
        |scheme: &[u8]| raw.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
    if is_path || is_address(b"http://") || is_address(b"https://") { Ok(()) } else { Err(Flaw::Target) }
}

/// A path has one meaning: decoded once, it has no control bytes, no backslash, is UTF-8, and none of its
/// segments is a dot or two, also where an encoded slash or a semicolon would end it for others.
fn path(path: &[u8]) -> Result<(), Flaw> {
    let (mut length, mut dots, mut beyond_ascii) = (0_usize, 0_usize, false);
    let is_dots = |length: usize, dots: usize| length == dots && (1..=2).contains(&dots);
    let mut bytes = path.iter();
    while let Some(&raw) = bytes.next() {
        let byte = if raw == b'%' {
            let mut digit = || bytes.next().and_then(|digit| char::from(*digit).to_digit(16));
            let (Some(high), Some(low)) = (digit(), digit()) else { return Err(Flaw::PathEscape) };
            u8::try_from(high << 4 | low).unwrap_or_default()
        } else {
            raw
        };
        match byte {
            0..0x20 | 0x7f | b'\\' => return Err(Flaw::PathByte),
            b'/' | b';' => {
                if is_dots(length, dots) {
                    return Err(Flaw::DotSegment);
                }
                // What follows a semicolon belongs to the segment and is never one of its own.
                (length, dots) = if byte == b'/' { (0, 0) } else { (length + 1, dots) };
            }
            _ => {
                length += 1;
                dots += usize::from(byte == b'.');
                beyond_ascii |= !byte.is_ascii();
            }
        }
    }
    if is_dots(length, dots) {
        return Err(Flaw::DotSegment);
    }
    if beyond_ascii && percent_decode(path).decode_utf8().is_err() {
        return Err(Flaw::PathEncoding);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
