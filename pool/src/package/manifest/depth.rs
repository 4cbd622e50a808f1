//! How deep the brackets of a YAML text may nest at most: text enters, whether it is safe to parse leaves.
//!
//! The scanner underneath looks at all open brackets at every token, so 100 KB of `[` cost half a minute and a
//! megabyte an hour. This bound is found in one pass and never too low: brackets that open always count, those that
//! close only where they are certainly not in a string or comment; after the first place that is not certain, never.

/// Most open brackets. Parsers refuse 128 for real; the rest is room for prose with brackets that never close.
const LIMIT: usize = 1000;

/// Whether brackets certainly nest less than is dangerous.
pub(super) fn is_bounded(text: &str) -> bool {
    let mut scan = Scan { rest: text.as_bytes(), adjacent: b'\n', before: b'\n', last: b'\n', certain: true };
    let mut depth = 0_usize;
    while let Some(byte) = scan.next() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' if scan.certain => depth = depth.saturating_sub(1),
            b'"' | b'\'' if depth > 0 && scan.certain => scan.quote(byte),
            b'#' if scan.certain && scan.adjacent.is_ascii_whitespace() => {
                scan.skip_line();
                continue;
            }
            _ => {}
        }
        if depth > LIMIT {
            return false;
        }
        scan.passed(byte);
    }
    true
}

struct Scan<'a> {
    rest: &'a [u8],
    /// The byte before, and the one before that.
    adjacent: u8,
    before: u8,
    /// The last byte that is neither white space nor comment.
    last: u8,
    /// Whether all strings so far were told from plain text.
    certain: bool,
}

impl Scan<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn passed(&mut self, byte: u8) {
        self.before = self.adjacent;
        self.adjacent = byte;
        if !byte.is_ascii_whitespace() {
            self.last = byte;
        }
    }

    fn skip_line(&mut self) {
        let end = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
        self.rest = self.rest.get(end..).unwrap_or_default();
        self.adjacent = b' ';
    }

    /// Skips a quoted string on one line if this quote begins one; notes when that cannot be told.
    fn quote(&mut self, quote: u8) {
        let spaced = self.adjacent.is_ascii_whitespace();
        let begins = match self.last {
            b'[' | b'{' | b',' => true,
            b':' => spaced || matches!(self.before, b'"' | b'\''),
            _ => false,
        };
        if begins {
            self.certain = self.skip_string(quote);
        } else if spaced || matches!(self.adjacent, b':' | b']' | b'}' | b'"' | b'\'') {
            self.certain = false;
        }
    }

    /// Skips to the closing quote; false if the line ends first.
    fn skip_string(&mut self, quote: u8) -> bool {
        while let Some(byte) = self.next() {
            match byte {
                b'\n' => return false,
                b'\\' if quote == b'"' => drop(self.next()),
                _ if byte == quote => {
                    if quote == b'\'' && self.rest.first() == Some(&quote) {
                        self.next();
                    } else {
                        return true;
                    }
                }
                _ => {}
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_that_really_nest_are_never_missed() {
        for unit in [
            "[",
            "{",
            "[ # ]\n",
            "[\"]\",",
            "[ \"]\", ",
            "['],', ",
            "[\"\\\"]\",",
            "[''']',",
            "[\"\n]\n\",",
            "[a \"]\", ",
            "[a:\"b, \"],\", ",
            "[&a \"]\", ",
            "{\"a\":\"}\",b: ",
            "{a: \"}\", b: ",
            "[a\n\"], [\", ",
            "[x', ']', ",
        ] {
            assert!(!is_bounded(&format!("a: {}", unit.repeat(5000))), "{unit:?}");
        }
    }

    #[test]
    fn real_manifests_may_be_long() {
        let schema =
            r#"{"type": "object", "title": "it's [", "properties": {"a": {"enum": ["]", '}', x, it's]}}}"#;
        for unit in [
            format!("  - id: x\n    input_schema: {schema}\n"),
            "a: [b, 'c', \"d\"] # [ see\n".to_owned(),
            "text: it's (a) \"quoted\" [link](http://x) 'text'\n".to_owned(),
        ] {
            assert!(is_bounded(&unit.repeat(3000)), "{unit}");
        }
    }
}
