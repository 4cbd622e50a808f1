//! What must never be read by anybody: secrets that we know by their text, and texts that look like secrets. They are
//! overwritten with asterisks in place, so that lengths, and with them JSON, stay as they are.
//!
//! Log lines, problem documents and letters of webhooks go through here. It is the last line of defence, not the
//! first: nothing of ours writes a token anywhere, but agents, their libraries and servers that we talk to may.

use std::{fmt, sync::Arc};

use aho_corasick::{AhoCorasick, MatchKind};
use parking_lot::RwLock;

/// Shortest known secret that is looked for: a shorter one would blacken innocent text.
const SHORTEST_SECRET: usize = 8;

/// Shortest text after a scheme or prefix that counts as a secret: words of a sentence are shorter.
const SHORTEST_TOKEN: usize = 16;

/// How a secret goes on after the text that gives it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// A JSON Web Token begins like this: its first part is base64url of `{"`.
    Token,
    /// A scheme of `Authorization`: the credentials follow.
    Scheme,
    /// A parameter of a URL or a form: its value follows.
    Parameter,
    /// A header, a variable or a member: its value follows, behind colons, equals signs and quotes.
    Member,
    /// A key whose kind is told by its beginning: no part of a word, and not made of words as names are.
    Key,
    /// The begin of a URL: a name and a password may follow, up to `@`.
    Address,
}

/// Texts that give a secret away, in the spellings that occur.
const MARKS: &[(&str, Rule)] = &[
    ("eyJ", Rule::Token),
    ("Bearer ", Rule::Scheme),
    ("bearer ", Rule::Scheme),
    ("BEARER ", Rule::Scheme),
    ("Basic ", Rule::Scheme),
    ("basic ", Rule::Scheme),
    ("X-Amz-Signature=", Rule::Parameter),
    ("X-Amz-Security-Token=", Rule::Parameter),
    ("X-Amz-Credential=", Rule::Parameter),
    ("X-Goog-Signature=", Rule::Parameter),
    ("Signature=", Rule::Parameter),
    ("signature=", Rule::Parameter),
    ("&sig=", Rule::Parameter),
    ("?sig=", Rule::Parameter),
    ("_token=", Rule::Parameter),
    ("?token=", Rule::Parameter),
    ("&token=", Rule::Parameter),
    ("secret=", Rule::Parameter),
    ("password=", Rule::Parameter),
    ("api_key=", Rule::Parameter),
    ("apikey=", Rule::Parameter),
    ("uthorization\"", Rule::Member),
    ("uthorization\\", Rule::Member),
    ("uthorization'", Rule::Member),
    ("uthorization:", Rule::Member),
    ("ookie\"", Rule::Member),
    ("ookie\\", Rule::Member),
    ("ookie'", Rule::Member),
    ("ookie:", Rule::Member),
    ("pi-key\"", Rule::Member),
    ("pi-key\\", Rule::Member),
    ("pi-key'", Rule::Member),
    ("pi-key:", Rule::Member),
    ("Api-Key:", Rule::Member),
    ("API_KEY=", Rule::Parameter),
    ("SECRET=", Rule::Parameter),
    ("SECRET_KEY=", Rule::Parameter),
    ("TOKEN=", Rule::Parameter),
    ("PASSWORD=", Rule::Parameter),
    ("sk_live_", Rule::Key),
    ("sk_test_", Rule::Key),
    ("rk_live_", Rule::Key),
    ("whsec_", Rule::Key),
    ("sk-", Rule::Key),
    ("ghp_", Rule::Key),
    ("xoxb-", Rule::Key),
    ("AKIA", Rule::Key),
    ("ASIA", Rule::Key),
    ("://", Rule::Address),
];

/// Overwrites secrets. Clones share what they know.
#[derive(Clone)]
pub(crate) struct Redactor(Arc<Shared>);

struct Shared {
    marks: Option<AhoCorasick>,
    known: RwLock<Vec<Vec<u8>>>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor(…)")
    }
}

impl Redactor {
    /// One that knows no secret yet.
    pub(crate) fn new() -> Self {
        let marks = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(MARKS.iter().map(|(mark, _)| mark));
        // A fixed list of short texts always makes an automaton: a test shows it.
        Self(Arc::new(Shared { marks: marks.ok(), known: RwLock::default() }))
    }

    /// Never lets this text through again. Texts of fewer than 8 bytes are not looked for.
    pub(crate) fn learn(&self, secret: &str) {
        let mut escaped = Vec::new();
        super::line::string(&mut escaped, secret);
        let inner = escaped.get(1..escaped.len() - 1).unwrap_or_default();
        let mut known = self.0.known.write();
        if inner.len() >= SHORTEST_SECRET && !known.iter().any(|old| old == inner) {
            known.push(inner.to_vec());
        }
    }

    /// Overwrites every secret in a text.
    pub(crate) fn mask(&self, text: &mut [u8]) {
        for secret in self.0.known.read().iter() {
            let found: Vec<usize> = memchr::memmem::find_iter(text, secret).collect();
            for at in found {
                text.get_mut(at..at + secret.len()).unwrap_or_default().fill(b'*');
            }
        }
        let Some(marks) = &self.0.marks else { return };
        let found: Vec<_> =
            marks.find_iter(&*text).map(|mark| (mark.pattern(), mark.start(), mark.end())).collect();
        for (mark, start, end) in found {
            let Some((_, rule)) = MARKS.get(mark.as_usize()) else { continue };
            let (begin, end) = extent(text, *rule, start, end);
            text.get_mut(begin..end).unwrap_or_default().fill(b'*');
        }
    }

    /// A text without its secrets.
    pub(crate) fn masked(&self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        self.mask(&mut bytes);
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

/// The bytes to overwrite, possibly none, for a mark at `start..end`.
fn extent(text: &[u8], rule: Rule, start: usize, end: usize) -> (usize, usize) {
    let run = |from: usize, belongs: fn(u8) -> bool| {
        from + text.get(from..).unwrap_or_default().iter().take_while(|byte| belongs(**byte)).count()
    };
    let nothing = (end, end);
    match rule {
        Rule::Token => {
            let last = run(start, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
            let token = text.get(start..last).unwrap_or_default();
            if token.len() > SHORTEST_TOKEN && token.contains(&b'.') { (start, last) } else { nothing }
        }
        Rule::Scheme => {
            let last = run(end, is_credential);
            if last - end >= SHORTEST_TOKEN { (end, last) } else { nothing }
        }
        Rule::Parameter => (end, run(end, is_value)),
        Rule::Member => {
            let begin = value_of_member(text, end);
            // Up to the end of the line or of the quoted text: cookies contain spaces.
            (begin, run(begin, |byte| !matches!(byte, b'"' | b'\'' | b'\\' | b'\n' | b'\r')))
        }
        Rule::Key => {
            let last =
                run(end, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'/'));
            let key = text.get(end..last).unwrap_or_default();
            let before = start.checked_sub(1).and_then(|at| text.get(at));
            let is_apart = !before.is_some_and(u8::is_ascii_alphanumeric);
            let is_random = key.iter().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
            if key.len() >= SHORTEST_TOKEN && is_apart && is_random { (end, last) } else { nothing }
        }
        Rule::Address => {
            let last = run(end, |byte| is_value(byte) && !matches!(byte, b'/' | b'?' | b'#'));
            let authority = text.get(end..last).unwrap_or_default();
            match authority.iter().rposition(|byte| *byte == b'@') {
                Some(at) => (end, end + at),
                None => nothing,
            }
        }
    }
}

/// Where the value of a member begins whose name ends at `end`, behind colons, quotes and what escapes them. The end of
/// the text where none follows: neither an escaped line break nor what closes a text of JSON is a value, and overwriting
/// either would leave no JSON.
fn value_of_member(text: &[u8], end: usize) -> usize {
    let at = |place: usize| text.get(place).copied();
    // A mark may end with the backslash of what it stands before.
    let mut place = if at(end - 1) == Some(b'\\') { end - 1 } else { end };
    let mut separated = at(end - 1) == Some(b':');
    let named_in_quotes = matches!(at(end - 1), Some(b'"' | b'\'' | b'\\'));
    let mut quoted = false;
    loop {
        match at(place) {
            Some(b':' | b'=') => (separated, quoted) = (true, false),
            Some(b'"' | b'\'') => quoted = true,
            Some(b' ' | b'[') => {}
            Some(b'\\') => {
                let behind = text.get(place..).unwrap_or_default().iter().position(|byte| *byte != b'\\');
                match behind.map(|count| place + count) {
                    Some(quote) if matches!(at(quote), Some(b'"' | b'\'')) => place = quote - 1,
                    Some(_) | None => return text.len(),
                }
            }
            Some(b'b') if separated && !quoted && matches!(at(place + 1), Some(b'"' | b'\'')) => {}
            Some(b',' | b'}' | b']') | None => return text.len(),
            Some(_) if separated && (quoted || !named_in_quotes) => return place,
            Some(_) => return text.len(),
        }
        place += 1;
    }
}

/// The characters of credentials: `token68` of RFC 9110 §11.2.
const fn is_credential(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b'*')
}

/// What a value of a parameter goes on with.
const fn is_value(byte: u8) -> bool {
    !matches!(byte, b'&' | b'"' | b'\'' | b'\\' | b'<' | b'>' | b')' | b',' | b';' | 0..=b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        Redactor::new().masked(text)
    }

    #[test]
    fn the_marks_make_an_automaton() {
        assert!(Redactor::new().0.marks.is_some());
    }

    #[test]
    fn known_secrets_are_overwritten_wherever_they_stand() {
        let redactor = Redactor::new();
        redactor.learn("hunter2\"hunter2");
        redactor.learn("short");
        assert_eq!(redactor.masked(r#"{"a":"hunter2\"hunter2 short"}"#), r#"{"a":"**************** short"}"#);
    }

    #[test]
    fn what_looks_like_a_secret_is_overwritten() {
        for (text, secret) in [
            (
                "got eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl end",
                "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
            ),
            ("Authorization: Bearer 0123456789abcdef0", "Bearer 0123456789abcdef0"),
            (r#"{"authorization":"Token abc"}"#, "Token abc"),
            (r#"{\"Authorization\": \"Basic dXNlcjpwYXNzd29yZDE=\"}"#, "Basic dXNlcjpwYXNzd29yZDE="),
            ("sent bearer abcdefghijklmnopqrst to it", "abcdefghijklmnopqrst"),
            ("Cookie: a=b; session=deadbeef", "a=b; session=deadbeef"),
            ("set-cookie: id=77; Path=/", "id=77; Path=/"),
            ("cookie: \"quoted\"", "quoted"),
            ("{'Cookie': b'a=b'}", "a=b"),
            (r#"{\\\"cookie\\\":\\\"deep\\\"}"#, "deep"),
            (r#"{"x-api-key":["listed"]}"#, "listed"),
            ("https://b.example/k?X-Amz-Signature=abc123&x=1", "abc123"),
            ("https://b.example/k?x=1&X-Amz-Security-Token=IQoJb3", "IQoJb3"),
            ("GET /x?access_token=opaque HTTP", "opaque"),
            ("client_secret=s3cr3t&grant", "s3cr3t"),
            ("https://user:pa%20ss@host.example/x", "user:pa%20ss"),
            ("key sk_live_0123456789abcdef01", "0123456789abcdef01"),
            ("OPENAI_API_KEY=sk-abc", "sk-abc"),
            ("x-api-key: 12345", "12345"),
        ] {
            let after = masked(text);
            assert!(!after.contains(secret), "{text} -> {after}");
            assert_eq!(after.len(), text.len(), "{text}");
            assert!(after.contains('*'), "{after}");
        }
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for text in [
            "Bearer realm=\"par\"",
            "basic authentication is not supported",
            "https://issuer.example/path@1.0?x=1#y",
            r#"{"path":"/agents/tools@1.0/echo/invoke","decision":"allowed"}"#,
            "the eyJ of a beholder",
            "risk-averse task-runner",
            "risk-assessment-assistant-4@1.0.0/disk-usage-of-every-host-2026",
            "sk-assessment-of-everything",
            "s3://bucket/key.apkg",
            r#"{"m":"line 3 in find_cookie"}}"#,
            r#"{"m":"line 3 in find_cookie\n  File \"x.py\""}"#,
            r#"{"m":"no cookie:","n":1}"#,
            r#"{"m":"Cookie: \n next"}"#,
            r#"{"cookie":null,"authorization": 7}"#,
            r#"["cookie", 1]"#,
        ] {
            assert_eq!(masked(text), text);
        }
    }

    #[test]
    fn a_masked_line_of_json_is_still_json() {
        let line = serde_json::json!({
            "message": "headers: {\"Cookie\": \"a=b\", \"Authorization\": \"Bearer abc\"}\nAuthorization: x y z",
            "cookie": "q",
            "url": "postgres://user:pass@db/x?password=\"quoted\"",
        })
        .to_string();
        let after: serde_json::Value = serde_json::from_str(&masked(&line)).unwrap();
        assert_eq!(after["cookie"], "*");
        assert!(
            !after.to_string().contains("Bearer abc") && !after.to_string().contains("user:pass"),
            "{after}"
        );
    }
}
