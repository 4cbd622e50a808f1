//! What of a file a request gets. Pure: headers and facts of the file in, an answer out (RFC 9110 §13 and §14).

use http::{HeaderMap, HeaderValue, Method, header};

use super::{
    date,
    range::{self, Asked},
};

/// What is known of the form of a file that would be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// Its `ETag`, which is strong.
    pub(crate) tag: &'a HeaderValue,
    /// Seconds since 1970.
    pub(crate) modified: u64,
    /// Bytes.
    pub(crate) size: u64,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 304: the client has it.
    NotModified,
    /// 200
    Whole,
    /// 206 with these bytes, the last one included.
    Part {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
    /// 416
    Unsatisfiable,
}

/// Decides.
pub(crate) fn decide(method: &Method, headers: &HeaderMap, facts: Facts<'_>) -> Answer {
    if has_it(headers, facts) {
        return Answer::NotModified;
    }
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    // A range means something to GET only, and only if the client's part is of this very file.
    let Some(range) = range.filter(|_| *method == Method::GET && is_same(headers, facts)) else {
        return Answer::Whole;
    };
    match range::parse(range, facts.size) {
        Asked::Whole => Answer::Whole,
        Asked::Part { first, last } => Answer::Part { first, last },
        Asked::Beyond => Answer::Unsatisfiable,
    }
}

/// Whether somebody opens a page, and does not ask for a part of one.
pub(crate) fn navigates(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|item| {
        let kind = item.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/html") || kind.eq_ignore_ascii_case("application/xhtml+xml")
    })
}

/// `If-None-Match`; only without it `If-Modified-Since`, which is coarser.
fn has_it(headers: &HeaderMap, facts: Facts<'_>) -> bool {
    if headers.contains_key(header::IF_NONE_MATCH) {
        let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        return values.flat_map(|value| value.split(',')).map(str::trim).any(|tag| {
            // A cache may have weakened the tag; what it holds is the same.
            tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == facts.tag.as_bytes()
        });
    }
    date_in(headers, &header::IF_MODIFIED_SINCE).is_some_and(|since| facts.modified <= since)
}

/// `If-Range`: a part is of use only if the rest has not changed. A weak tag never matches.
fn is_same(headers: &HeaderMap, facts: Facts<'_>) -> bool {
    match headers.get(header::IF_RANGE) {
        None => true,
        Some(value) if value.as_bytes() == facts.tag.as_bytes() => true,
        Some(_) => date_in(headers, &header::IF_RANGE).is_some_and(|date| date == facts.modified),
    }
}

fn date_in(headers: &HeaderMap, name: &header::HeaderName) -> Option<u64> {
    date::parse(headers.get(name)?.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The date of the file: `Sun, 06 Nov 1994 08:49:37 GMT`.
    const MODIFIED: u64 = 784_111_777;
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn decided(method: &Method, lines: &[(&'static str, &str)]) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let tag = HeaderValue::from_static("\"abc\"");
        decide(method, &headers, Facts { tag: &tag, modified: MODIFIED, size: 100 })
    }

    fn got(lines: &[(&'static str, &str)]) -> Answer {
        decided(&Method::GET, lines)
    }

    #[test]
    fn who_has_it_gets_nothing() {
        for tags in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "*"] {
            assert_eq!(got(&[("if-none-match", tags)]), Answer::NotModified, "{tags}");
            assert_eq!(decided(&Method::HEAD, &[("if-none-match", tags)]), Answer::NotModified);
        }
        assert_eq!(got(&[("if-none-match", "\"x\""), ("if-none-match", "\"abc\"")]), Answer::NotModified);
        assert_eq!(got(&[("if-modified-since", DATE)]), Answer::NotModified);
        assert_eq!(got(&[("if-modified-since", "Sun, 06 Nov 1994 08:49:38 GMT")]), Answer::NotModified);
    }

    #[test]
    fn who_has_another_one_gets_it() {
        for lines in [
            &[("if-none-match", "\"ab\"")][..],
            &[("if-none-match", "abc")],
            &[("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")],
            &[("if-modified-since", "not a date")],
            // The tag is finer than the date.
            &[("if-none-match", "\"old\""), ("if-modified-since", DATE)],
            &[],
        ] {
            assert_eq!(got(lines), Answer::Whole, "{lines:?}");
        }
    }

    #[test]
    fn a_part_is_sent_if_the_rest_is_the_same() {
        let part = Answer::Part { first: 10, last: 19 };
        let range = ("range", "bytes=10-19");
        assert_eq!(got(&[range]), part);
        assert_eq!(got(&[range, ("if-range", "\"abc\"")]), part);
        assert_eq!(got(&[range, ("if-range", DATE)]), part);
        for other in ["\"abd\"", "W/\"abc\"", "Sun, 06 Nov 1994 08:49:38 GMT", "?"] {
            assert_eq!(got(&[range, ("if-range", other)]), Answer::Whole, "{other}");
        }
        assert_eq!(got(&[("range", "bytes=100-")]), Answer::Unsatisfiable);
        assert_eq!(got(&[("range", "bytes=0-1,2-3")]), Answer::Whole);
        assert_eq!(decided(&Method::HEAD, &[range]), Answer::Whole);
        assert_eq!(got(&[range, ("if-none-match", "\"abc\"")]), Answer::NotModified);
    }

    #[test]
    fn only_who_wants_a_page_opens_one() {
        for (accept, wanted) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("text/html", true),
            ("Text/HTML;q=0.5", true),
            ("*/*", false),
            ("application/json, text/plain, */*", false),
            ("image/webp,image/apng,*/*", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(navigates(&headers), wanted, "{accept}");
        }
        assert!(!navigates(&HeaderMap::new()));
    }
}
