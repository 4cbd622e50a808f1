//! What `par` writes to its stdout, line by line, while it runs.

use std::{
    io::{BufRead, BufReader, Read},
    ops::Index,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

/// One line. A line that is no JSON is kept as `{"event":"not_json","level":"ERROR","text":…}`.
#[derive(Debug, Clone)]
pub(crate) struct Line(Value);

impl Line {
    fn parse(text: &str) -> Self {
        let not_json = || serde_json::json!({"event": "not_json", "level": "ERROR", "text": text});
        Self(serde_json::from_str(text).unwrap_or_else(|_| not_json()))
    }

    /// Its event; empty if it has none.
    pub(crate) fn event(&self) -> &str {
        self.0["event"].as_str().unwrap_or_default()
    }

    /// WARN or ERROR: somebody should look.
    pub(crate) fn is_alarm(&self) -> bool {
        let level = self.0["level"].as_str().unwrap_or_default();
        level.eq_ignore_ascii_case("warn") || level.eq_ignore_ascii_case("error")
    }

    /// The whole line as text, to look for words in it.
    pub(crate) fn text(&self) -> String {
        self.0.to_string()
    }

    /// Whether the words stand in it, in any case.
    pub(crate) fn mentions(&self, words: &str) -> bool {
        self.text().to_lowercase().contains(&words.to_lowercase())
    }

    /// The line as JSON.
    pub(crate) fn value(&self) -> &Value {
        &self.0
    }
}

impl Index<&str> for Line {
    type Output = Value;

    fn index(&self, key: &str) -> &Value {
        &self.0[key]
    }
}

/// All lines so far; readable at any time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Line>>>);

impl Log {
    /// Reads until the other side closes, on a thread of its own.
    pub(crate) fn follow(&self, output: impl Read + Send + 'static) {
        let lines = Arc::clone(&self.0);
        thread::spawn(move || {
            let mut reader = BufReader::new(output);
            // The thread's copy is the second one: when it is gone, all that was said is here.
            let mut bytes = vec![];
            // What has no end was cut off when the other side was killed, and is no line.
            while reader.read_until(b'\n', &mut bytes).is_ok_and(|_| bytes.ends_with(b"\n")) {
                let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                lines.lock().expect("no reader panics").push(Line::parse(&text));
                bytes.clear();
            }
        });
    }

    /// Whether the other side has closed and everything it said is here.
    pub(crate) fn is_whole(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.0.lock().expect("no reader panics").clone()
    }
}

/// Plain text from a stream, collected on a thread of its own.
pub(crate) fn collect(output: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let collected = Arc::clone(&text);
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let mut text = collected.lock().expect("no reader panics");
            text.push_str(&line);
            text.push('\n');
        }
    });
    text
}
