//! Parts of a file: `Range: bytes=…` (RFC 9110 §14). One part is answered with it; for several, the whole file comes,
//! as the standard allows: nobody who shows a UI asks for several.

/// What a `Range` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it: no range, several, or one that cannot be read.
    Whole,
    /// These bytes, the last one included.
    Part {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
    /// Bytes that the file does not have.
    Beyond,
}

/// Reads the header of a request for a file of `size` bytes.
pub(crate) fn parse(header: &str, size: u64) -> Asked {
    let Some((unit, set)) = header.split_once('=') else { return Asked::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Asked::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Asked::Whole };
    match (first, last) {
        ("", last) => match number(last) {
            None => Asked::Whole,
            Some(length) if length == 0 || size == 0 => Asked::Beyond,
            Some(length) => Asked::Part { first: size.saturating_sub(length), last: size - 1 },
        },
        (first, last) => {
            let Some(first) = number(first) else { return Asked::Whole };
            let last = match last {
                "" => u64::MAX,
                last => match number(last) {
                    Some(last) if last >= first => last,
                    Some(_) | None => return Asked::Whole,
                },
            };
            if first >= size { Asked::Beyond } else { Asked::Part { first, last: last.min(size - 1) } }
        }
    }
}

/// Digits only. A number too large for us is larger than any file.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_is_found_and_cut_to_the_file() {
        let part = |first, last| Asked::Part { first, last };
        for (header, wanted) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=0-99", part(0, 99)),
            ("bytes=10-", part(10, 99)),
            ("bytes=-10", part(90, 99)),
            ("bytes=-1000", part(0, 99)),
            ("bytes=90-1000", part(90, 99)),
            ("bytes=90-99999999999999999999999", part(90, 99)),
            ("Bytes=1-2", part(1, 2)),
            ("bytes=100-", Asked::Beyond),
            ("bytes=99999999999999999999999-", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
        ] {
            assert_eq!(parse(header, 100), wanted, "{header}");
        }
        assert_eq!(parse("bytes=0-", 0), Asked::Beyond);
        assert_eq!(parse("bytes=-5", 0), Asked::Beyond);
    }

    #[test]
    fn what_cannot_be_read_and_several_parts_are_the_whole() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-4",
            "bytes=0-1,3-4",
            "lines=1-2",
            "bytes=+1-2",
            "bytes=1--2",
        ] {
            assert_eq!(parse(header, 100), Asked::Whole, "{header}");
        }
    }
}
