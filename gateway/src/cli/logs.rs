//! `par logs`: recent lines of a running `par`, and new ones as they come.

use std::{io::Write, path::Path};

use http::Method;
use http_body_util::{BodyExt as _, Empty};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Exit, Failure,
    arguments::LogsWanted,
    client::{Client, request},
};
use crate::observe::TextForm;

/// Longest line that is put together from parts: a traceback of an agent fits many times.
const LONGEST_LINE: usize = 4 << 20;

#[derive(Deserialize)]
struct Lines<'a> {
    #[serde(borrow)]
    lines: Vec<&'a RawValue>,
}

/// Writes the lines that are wanted: as JSON lines, or readable.
pub(super) async fn logs(socket: &Path, wanted: &LogsWanted, out: &mut dyn Write) -> Result<(), Failure> {
    let client = Client::new(socket);
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let level = wanted.level.clone();
    for (name, value) in [("agent", &wanted.agent), ("request_id", &wanted.request_id), ("level", &level)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    if wanted.follow {
        query.append_pair("follow", "true");
    }
    let path = format!("/runtime/logs?{}", query.finish());
    let form = (!wanted.remote.json).then(TextForm::of_stdout);
    if wanted.follow {
        return follow(&client, &path, form, out).await;
    }
    let answer = client.ask(Method::GET, &path).await?;
    let answer: Lines<'_> = serde_json::from_slice(&answer)
        .map_err(|error| Failure::new(Exit::Failed, format!("the answer is not understood: {error}")))?;
    for line in answer.lines {
        show(format!("{}\n", line.get()).as_bytes(), form, out)?;
    }
    Ok(())
}

async fn follow(
    client: &Client,
    path: &str,
    form: Option<TextForm>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let empty = Empty::new().map_err(|never| match never {}).boxed();
    let mut body = client.send(request(Method::GET, path, empty)).await?.into_body();
    let mut waiting = Vec::new();
    while let Some(frame) = body.frame().await {
        // The end of the runtime is the end of its log.
        let Ok(frame) = frame else { return Ok(()) };
        let Ok(part) = frame.into_data() else { continue };
        waiting.extend_from_slice(&part);
        let whole = memchr::memrchr(b'\n', &waiting).map_or(0, |at| at + 1);
        show(waiting.get(..whole).unwrap_or_default(), form, out)?;
        waiting.drain(..whole);
        if waiting.len() > LONGEST_LINE {
            return Err(Failure::new(Exit::Failed, "a line is longer than any line of par"));
        }
    }
    Ok(())
}

fn show(lines: &[u8], form: Option<TextForm>, out: &mut dyn Write) -> Result<(), Failure> {
    match form {
        None => out.write_all(lines)?,
        Some(form) => {
            let mut text = Vec::new();
            form.render(lines, &mut text);
            out.write_all(&text)?;
        }
    }
    Ok(out.flush()?)
}
