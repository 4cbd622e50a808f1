//! `par logs level`: levels of a running `par`, shown and changed.

use std::{io::Write, path::Path};

use http::Method;
use serde_json::{Value, json};

use super::{Exit, Failure, client::Client};
use crate::config;

/// Where levels are.
const PATH: &str = "/runtime/logs/level";

/// What is asked for.
pub(super) struct Change {
    /// None: levels are shown.
    pub(super) level: Option<String>,
    pub(super) target: Option<String>,
    /// As written.
    pub(super) lasts: Option<String>,
    pub(super) reset: bool,
}

/// Asks, and writes the levels as they are then.
pub(super) async fn levels(
    socket: &Path,
    change: Change,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let Change { level, target, lasts, reset } = change;
    let seconds = lasts.as_deref().map(config::seconds).transpose();
    let seconds = seconds.map_err(|fault| Failure::new(Exit::Configuration, format!("--for: {fault}")))?;
    let client = Client::new(socket);
    let answer = match level {
        Some(level) => {
            let body = json!({"level": level, "target": target, "for_seconds": seconds});
            client.ask_json(Method::PUT, PATH, &body).await?
        }
        None if reset => client.ask(Method::DELETE, PATH).await?,
        None => client.ask(Method::GET, PATH).await?,
    };
    if json {
        out.write_all(&answer)?;
        return Ok(out.write_all(b"\n")?);
    }
    let answer: Value = serde_json::from_slice(&answer)
        .map_err(|error| Failure::new(Exit::Failed, format!("the answer is not understood: {error}")))?;
    show("all", &answer, out)?;
    for (target, shown) in answer.get("targets").and_then(Value::as_object).into_iter().flatten() {
        show(target, shown, out)?;
    }
    Ok(())
}

fn show(of: &str, shown: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    let level = shown.get("level").and_then(Value::as_str).unwrap_or_default();
    match shown.get("falls_back_in").and_then(Value::as_f64) {
        Some(seconds) => writeln!(out, "{of}  {level}  (for {seconds} s)")?,
        None => writeln!(out, "{of}  {level}")?,
    }
    Ok(())
}
