//! One log line as JSON, appended to a buffer without an allocation:
//! `{"ts","level","event","agentAppId","deploymentId","details":{…}}`.

use std::{fmt, time::SystemTime};

use super::timestamp;

/// What every line of this process says about it, written once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity(Vec<u8>);

impl Identity {
    /// `agentAppId` and `deploymentId`, null where there is none.
    pub(crate) fn new(agent_app_id: Option<&str>, deployment_id: Option<&str>) -> Self {
        let mut members = Vec::new();
        for (name, value) in [("agentAppId", agent_app_id), ("deploymentId", deployment_id)] {
            key(&mut members, name);
            match value {
                Some(value) => string(&mut members, value),
                None => members.extend_from_slice(b"null"),
            }
        }
        Self(members)
    }

    /// Opens a line: everything up to and without the comma before the next member. `level` and `event` are names
    /// that need no escaping.
    pub(crate) fn open(&self, out: &mut Vec<u8>, level: &str, event: &str) {
        out.extend_from_slice(b"{\"ts\":\"");
        timestamp::append(out, SystemTime::now());
        out.extend_from_slice(b"\",\"level\":\"");
        out.extend_from_slice(level.as_bytes());
        out.extend_from_slice(b"\",\"event\":");
        string(out, event);
        out.extend_from_slice(&self.0);
    }
}

/// Appends `,"name":`; the name needs no escaping.
pub(crate) fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends a text as a JSON string.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

/// Appends what something displays as a JSON string.
pub(crate) fn display(out: &mut Vec<u8>, value: fmt::Arguments<'_>) {
    struct Escaped<'a>(&'a mut Vec<u8>);
    impl fmt::Write for Escaped<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            escape(self.0, text);
            Ok(())
        }
    }
    out.push(b'"');
    // Only a value's own `Display` can fail here; what it wrote until then stays.
    if fmt::Write::write_fmt(&mut Escaped(out), value).is_err() {
        escape(out, "…");
    }
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut plain = 0;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 | 0x7f => 0,
            _ => continue,
        };
        out.extend_from_slice(bytes.get(plain..at).unwrap_or_default());
        plain = at + 1;
        if short == 0 {
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
    }
    out.extend_from_slice(bytes.get(plain..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_texts_stay_one_line_of_valid_json() {
        for text in ["", "plain", "\"quoted\"\\", "a\nb\r\n\t\0\x1b[31m\x7f", "ünïcödé 🦀", "\u{2028}"]
        {
            let mut out = Vec::new();
            string(&mut out, text);
            assert!(!out.contains(&b'\n') && !out.contains(&0x1b));
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
            let mut shown = Vec::new();
            display(&mut shown, format_args!("{text}"));
            assert_eq!(shown, out);
        }
    }

    #[test]
    fn a_line_opens_with_the_common_members() {
        let mut out = Vec::new();
        Identity::new(None, Some("d\"1")).open(&mut out, "info", "ready");
        out.push(b'}');
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let names: Vec<_> = line.as_object().unwrap().keys().collect();
        assert_eq!(names, ["ts", "level", "event", "agentAppId", "deploymentId"]);
        assert_eq!(line["deploymentId"], "d\"1");
        assert!(line["agentAppId"].is_null());
    }
}
