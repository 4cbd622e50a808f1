//! Log lines for people: `12:00:01 INFO  ready            message  name=value`.

use serde_json::{Map, Value};

use super::colours;

/// How lines look for people.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextForm {
    colours: bool,
}

/// Members that every line has and people need not see again.
const COMMON: &[&str] = &["ts", "level", "event", "agentAppId", "deploymentId", "details"];

impl TextForm {
    /// Colours if standard output wants them.
    pub(crate) fn of_stdout() -> Self {
        Self { colours: colours::on_stdout() }
    }

    /// Appends JSON lines in readable form. What is no JSON object is passed on as it is.
    pub(crate) fn render(self, lines: &[u8], out: &mut Vec<u8>) {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice::<Map<String, Value>>(line) {
                Ok(members) => self.line(&members, out),
                Err(_) => out.extend_from_slice(line),
            }
            out.push(b'\n');
        }
    }

    fn line(self, members: &Map<String, Value>, out: &mut Vec<u8>) {
        let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
        let level = text("level").to_ascii_uppercase();
        let (on, off) = if self.colours { (colour(&level), "\x1b[0m") } else { ("", "") };
        let clock = text("ts").get(11..19).unwrap_or_default();
        let details = members.get("details").and_then(Value::as_object);
        let message = details.and_then(|details| details.get("message")).and_then(Value::as_str);
        let mut line = format!("{clock} {on}{level:<5}{off} {:<14}", text("event"));
        if let Some(message) = message {
            line.push(' ');
            visible(message, &mut line);
        }
        let top = members.iter().filter(|(name, _)| !COMMON.contains(&name.as_str()));
        let rest = details.into_iter().flatten().filter(|(name, _)| *name != "message");
        for (name, value) in top.chain(rest) {
            line.push(' ');
            line.push_str(name);
            line.push('=');
            match value {
                Value::String(text) if !text.is_empty() && !text.contains([' ', '"', '=']) => {
                    visible(text, &mut line);
                }
                Value::Null => line.push('-'),
                Value::String(_) | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                    line.push_str(&value.to_string());
                }
            }
        }
        out.extend_from_slice(line.trim_end().as_bytes());
    }
}

/// Texts of agents must not steer a terminal: of the control characters only newline and tab are shown as such.
fn visible(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\n    "),
            '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
}

fn colour(level: &str) -> &'static str {
    match level {
        "ERROR" => "\x1b[31m",
        "WARN" => "\x1b[33m",
        "INFO" => "\x1b[32m",
        _ => "\x1b[90m",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(line: &str, colours: bool) -> String {
        let mut out = Vec::new();
        TextForm { colours }.render(line.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_shows_time_level_event_message_and_the_rest() {
        let line = r#"{"ts":"2026-01-31T12:00:01.123Z","level":"info","event":"ready","agentAppId":null,"deploymentId":null,"status":200,"details":{"message":"up","package":"echo@1.0.0","note":"a b","none":null}}"#;
        insta::assert_snapshot!(
            rendered(line, false),
            @r#"12:00:01 INFO  ready          up status=200 package=echo@1.0.0 note="a b" none=-"#
        );
        assert!(rendered(line, true).contains("\x1b[32mINFO \x1b[0m"));
    }

    #[test]
    fn texts_cannot_steer_the_terminal() {
        let line =
            r#"{"level":"warn","event":"x","details":{"message":"a\u001b[2Jb\nc","k":"\u001b]0;t\u0007"}}"#;
        let shown = rendered(line, false);
        assert!(!shown.contains('\x1b') && !shown.contains('\x07'), "{shown:?}");
        assert!(shown.contains("b\n    c"));
        assert_eq!(rendered("not json", false), "not json\n");
    }
}
