//! One request and its answer, the same for every protocol: what was wished for enters, content or
//! "unchanged" leaves.

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::{
    Validator,
    fault::{Fault, chain},
};

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wish<'a> {
    /// Everything.
    Whole,
    /// What follows the first `from` bytes, if the content is still that of `tag`; else everything.
    Rest {
        /// Bytes that are here already.
        from: u64,
        /// The strong tag of the content that they belong to.
        tag: &'a str,
    },
    /// Everything, if it has changed.
    IfChanged(&'a Validator),
}

/// What came back.
#[derive(Debug)]
pub(super) enum Reply {
    /// The validator still holds.
    Unchanged,
    /// Content.
    Content(Box<Answer>),
}

/// Content that is about to be read.
#[derive(Debug)]
pub(super) struct Answer {
    /// Which byte of the whole the first one is.
    pub(super) from: u64,
    /// Length of the whole, if it was told.
    pub(super) total: Option<u64>,
    /// The `ETag`, as it was sent.
    pub(super) tag: Option<String>,
    /// The `Last-Modified`, as it was sent.
    pub(super) modified: Option<String>,
    /// The bytes.
    pub(super) body: Body,
}

impl Answer {
    /// What to ask with next time.
    pub(super) fn validator(&self) -> Option<Validator> {
        (self.tag.is_some() || self.modified.is_some())
            .then(|| Validator::Server { tag: self.tag.clone(), modified: self.modified.clone() })
    }

    /// The tag, if equal tags mean equal bytes (RFC 9110, 8.8.3).
    pub(super) fn strong_tag(&self) -> Option<String> {
        self.tag.clone().filter(|tag| tag.starts_with('"'))
    }
}

/// Bytes on their way.
#[derive(Debug)]
pub(super) enum Body {
    /// Of an HTTP server.
    Https(reqwest::Response),
    /// Of an object store.
    S3(ByteStream),
}

impl Body {
    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self, place: &str) -> Result<Option<Bytes>, Fault> {
        let broke = |log: String| Fault::transient(format!("{place} broke off")).with_log(log);
        match self {
            Self::Https(response) => response.chunk().await.map_err(|error| broke(chain(&error))),
            Self::S3(stream) => stream.try_next().await.map_err(|error| broke(chain(&error))),
        }
    }
}

/// Where a partial answer begins and how long the whole is, if it is the part that was wished for.
pub(super) fn agreed(
    place: &str,
    wish: &Wish<'_>,
    content_range: Option<&str>,
    tag: Option<&str>,
) -> Result<(u64, Option<u64>), Fault> {
    match (wish, content_range.and_then(range)) {
        (Wish::Rest { from, tag: wanted }, Some((start, total)))
            if start == *from && tag.is_none_or(|tag| tag == *wanted) =>
        {
            Ok((start, total))
        }
        (Wish::Rest { .. } | Wish::Whole | Wish::IfChanged(_), Some(_) | None) => Err(Fault::changed(place)),
    }
}

/// First byte and whole length of a `Content-Range`.
fn range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_that_was_asked_for_is_taken() {
        let rest = Wish::Rest { from: 5, tag: "\"a\"" };
        let take = |wish, range, tag| agreed("x", wish, Some(range), tag).ok();
        assert_eq!(take(&rest, "bytes 5-9/10", Some("\"a\"")), Some((5, Some(10))));
        assert_eq!(take(&rest, "bytes 5-9/*", None), Some((5, None)));
        for range in
            ["bytes 4-9/10", "bytes 6-9/10", "5-9/10", "bytes */10", "bytes 5-4/10", "bytes 5-10/10", ""]
        {
            assert_eq!(take(&rest, range, None), None, "{range:?}");
        }
        assert_eq!(take(&rest, "bytes 5-9/10", Some("\"b\"")), None);
        assert_eq!(take(&Wish::Whole, "bytes 0-9/10", None), None);
    }
}
