//! Bytes as an answer: what an agent says of them and what the request asks for enter, a head leaves, and which of the
//! bytes follow it. Pure.
//!
//! A part may be asked for as of any file (`Range`, RFC 9110 §14), although calls are made with POST: an agent that makes
//! the same file again lets a download go on. There is no validator by which a client could know that it is the same, so
//! whoever sends `If-Range` gets all of it.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use par_proto::code::Code;
use pingora_core::Result as Made;
use pingora_http::ResponseHeader;
use serde::Deserialize;

use super::refusal::Refusal;
use crate::ui::{Asked, parse_range};

/// Headers of an answer, ours included.
const HEADERS: usize = 16;

const OCTETS: &str = "application/octet-stream";

/// What an agent says of bytes, as in `FRAMES.md`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct About {
    #[serde(default)]
    pub(super) content_type: Option<String>,
    /// How many there are, if that is known before the last one.
    #[serde(default)]
    pub(super) length: Option<u64>,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) disposition: Option<String>,
}

/// Which of the bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// The first one.
    from: u64,
    /// The first one that is not; `None`: all are sent.
    to: Option<u64>,
    /// How many have come by.
    passed: u64,
}

impl Window {
    /// What of the next bytes is sent.
    pub(super) fn cut(&mut self, mut bytes: Bytes) -> Bytes {
        let begin = self.passed;
        self.passed += bytes.len() as u64;
        let inside =
            |place: u64| usize::try_from(place.saturating_sub(begin)).unwrap_or(usize::MAX).min(bytes.len());
        let (from, to) = (inside(self.from), self.to.map_or(bytes.len(), inside));
        if from >= to {
            return Bytes::new();
        }
        bytes.truncate(to);
        bytes.split_off(from)
    }

    /// Whether all that the head has promised has come by.
    pub(super) fn is_complete(&self) -> bool {
        self.to.is_none_or(|to| self.passed >= to)
    }
}

impl About {
    /// Reads the metadata of a frame with bytes.
    pub(super) fn read(meta: &[u8]) -> Self {
        serde_json::from_slice(meta).unwrap_or_default()
    }

    /// Their type.
    pub(super) fn content_type(&self) -> &str {
        self.content_type.as_deref().filter(|text| HeaderValue::from_str(text).is_ok()).unwrap_or(OCTETS)
    }
}

/// The head of an answer, and which bytes follow.
pub(super) fn head(about: &About, request: &HeaderMap) -> Result<(ResponseHeader, Window), Refusal> {
    let range = request.get(header::RANGE).filter(|_| !request.contains_key(header::IF_RANGE));
    let asked = match (range.and_then(|range| range.to_str().ok()), about.length) {
        (Some(range), Some(length)) => parse_range(range, length),
        (Some(_) | None, _) => Asked::Whole,
    };
    let made = match asked {
        Asked::Whole => {
            let window = Window { from: 0, to: about.length, passed: 0 };
            make(about, StatusCode::OK, about.length).map(|head| (head, window))
        }
        Asked::Part { first, last } => {
            let to = last.saturating_add(1);
            let window = Window { from: first, to: Some(to), passed: 0 };
            make(about, StatusCode::PARTIAL_CONTENT, Some(to - first)).and_then(|mut head| {
                let length = about.length.unwrap_or_default();
                head.insert_header(header::CONTENT_RANGE, format!("bytes {first}-{last}/{length}"))?;
                Ok((head, window))
            })
        }
        Asked::Beyond => {
            let length = about.length.unwrap_or_default();
            let text = format!("the file has {length} bytes and none of those");
            let mut refusal = Refusal::new(Code::RangeNotSatisfiable, text);
            refusal.size = Some(length);
            return Err(refusal);
        }
    };
    made.map_err(|_| Refusal::new(Code::Internal, "the head of the file could not be made"))
}

fn make(about: &About, status: StatusCode, length: Option<u64>) -> Made<ResponseHeader> {
    let mut head = ResponseHeader::build_no_case(status, Some(HEADERS))?;
    head.insert_header(header::CONTENT_TYPE, about.content_type())?;
    // An agent's bytes are what it says they are, and no page of ours.
    head.insert_header(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))?;
    if let Some(text) = disposition(about) {
        head.insert_header(header::CONTENT_DISPOSITION, text)?;
    }
    if let Some(length) = length {
        head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(length))?;
        head.insert_header(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"))?;
    }
    Ok(head)
}

/// `Content-Disposition` (RFC 6266): a name for everybody, and with other letters one for those who know RFC 8187.
fn disposition(about: &About) -> Option<String> {
    let kind = match about.disposition.as_deref() {
        Some("inline") => "inline",
        Some(_) => "attachment",
        None if about.name.is_some() => "attachment",
        None => return None,
    };
    let mut text = kind.to_owned();
    if let Some(name) = &about.name {
        let plain: String = name.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
        text.push_str("; filename=\"");
        text.push_str(&plain);
        text.push('"');
        if plain != *name {
            text.push_str("; filename*=UTF-8''");
            for byte in name.bytes() {
                if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                    text.push(byte.into());
                } else {
                    // Writing to text does not fail.
                    write!(text, "%{byte:02X}").ok();
                }
            }
        }
    }
    Some(text)
}

/// What every client reads the same way between quotes. Some take `%41` for a letter.
fn is_plain(letter: char) -> bool {
    matches!(letter, ' '..='~') && !matches!(letter, '"' | '\\' | '%' | '/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(json: &str) -> About {
        About::read(json.as_bytes())
    }

    fn got(
        json: &str,
        request: &[(&'static str, &'static str)],
    ) -> Result<(ResponseHeader, Window), Refusal> {
        let headers = request
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)));
        head(&about(json), &headers.collect())
    }

    #[test]
    fn names_reach_old_and_new_clients_and_nothing_but_a_name() {
        for (json, wanted) in [
            ("{}", None),
            (r#"{"name":"a b.pdf"}"#, Some(r#"attachment; filename="a b.pdf""#)),
            (r#"{"disposition":"inline"}"#, Some("inline")),
            (r#"{"name":"a","disposition":"inline"}"#, Some(r#"inline; filename="a""#)),
            (r#"{"name":"a","disposition":"form-data"}"#, Some(r#"attachment; filename="a""#)),
            (r#"{"name":"né.txt"}"#, Some(r#"attachment; filename="n_.txt"; filename*=UTF-8''n%C3%A9.txt"#)),
            (
                r#"{"name":"a\"; x=\"\r\nSet-Cookie: y"}"#,
                Some(
                    "attachment; filename=\"a_; x=___Set-Cookie: y\"; \
                     filename*=UTF-8''a%22%3B%20x%3D%22%0D%0ASet-Cookie%3A%20y",
                ),
            ),
            (
                r#"{"name":"50%41.txt"}"#,
                Some(r#"attachment; filename="50_41.txt"; filename*=UTF-8''50%2541.txt"#),
            ),
        ] {
            assert_eq!(disposition(&about(json)).as_deref(), wanted, "{json}");
        }
    }

    #[test]
    fn a_part_is_sent_of_what_has_a_known_length() {
        let length = r#"{"length":100,"content_type":"text/csv"}"#;
        let (head, window) = got(length, &[]).unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(
            (&head.headers["content-length"], &head.headers["accept-ranges"]),
            (&"100".parse().unwrap(), &"bytes".parse().unwrap())
        );
        assert_eq!(window.to, Some(100));
        let (head, window) = got(length, &[("range", "bytes=10-19")]).unwrap();
        assert_eq!(
            (head.status.as_u16(), head.headers["content-range"].to_str().unwrap()),
            (206, "bytes 10-19/100")
        );
        assert_eq!((window.from, window.to), (10, Some(20)));
        let refusal = got(length, &[("range", "bytes=100-")]).unwrap_err();
        assert_eq!((refusal.code, refusal.size), (Code::RangeNotSatisfiable, Some(100)));
        for request in [&[("range", "bytes=1-2"), ("if-range", "\"x\"")][..], &[("range", "bytes=1-2,4-5")]] {
            assert_eq!(got(length, request).unwrap().0.status, 200);
        }
        let (head, window) = got("{}", &[("range", "bytes=10-19")]).unwrap();
        assert_eq!((head.status.as_u16(), window.to), (200, None), "of an unknown length there are no parts");
        assert!(!head.headers.contains_key("accept-ranges") && !head.headers.contains_key("content-length"));
    }

    #[test]
    fn a_window_is_the_same_however_the_bytes_come() {
        let all: Vec<u8> = (0..100).collect();
        for (from, to) in
            [(0, None), (0, Some(100)), (10, Some(20)), (99, Some(100)), (0, Some(1)), (0, Some(0))]
        {
            for size in [1, 3, 7, 50, 100] {
                let mut window = Window { from, to, passed: 0 };
                let pieces = all.chunks(size).map(|piece| window.cut(Bytes::copy_from_slice(piece)));
                let sent: Vec<u8> = pieces.flat_map(|piece| piece.to_vec()).collect();
                let to = to.unwrap_or(100);
                assert_eq!(sent, all[from as usize..to as usize], "{from}-{to} by {size}");
                assert!(window.is_complete());
            }
        }
        let mut short = Window { from: 0, to: Some(10), passed: 0 };
        assert_eq!(short.cut(Bytes::from_static(b"123")), "123");
        assert!(!short.is_complete());
        assert_eq!(short.cut(Bytes::from_static(b"4567890more")), "4567890", "never more than was promised");
    }

    #[test]
    fn a_type_that_is_no_header_is_none() {
        assert_eq!(
            about(r#"{"content_type":"text/csv; charset=utf-8"}"#).content_type(),
            "text/csv; charset=utf-8"
        );
        assert_eq!(about(r#"{"content_type":"a\r\nb"}"#).content_type(), OCTETS);
        assert_eq!(about("nonsense").content_type(), OCTETS);
    }
}
