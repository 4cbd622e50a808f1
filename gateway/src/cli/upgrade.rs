//! `par upgrade`: a running `par` becomes another binary; done when that one is ready.

use std::{
    io::Write,
    path::{Path, PathBuf, absolute},
    time::{Duration, Instant},
};

use http::Method;
use serde_json::{Value, json};
use tokio::{
    net::UnixStream,
    time::{sleep, timeout},
};

use super::{Exit, Failure, client::Client};

/// Between two questions while calls are being finished: each is a line in the log.
const WAITING: Duration = Duration::from_millis(250);

/// Between two questions when it has begun.
const AGAIN: Duration = Duration::from_millis(20);

/// Asks for it and waits.
pub(super) async fn upgrade(
    socket: &Path,
    binary: Option<PathBuf>,
    patience: Duration,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let client = Client::new(socket);
    let binary = binary.map(absolute).transpose().map_err(|error| {
        Failure::new(Exit::Configuration, format!("the path of the binary is none: {error}"))
    })?;
    let before = info(&client).await?;
    let begin = Instant::now();
    let asked = json!({"binary": binary});
    client.ask_json(Method::POST, "/runtime/upgrade", &asked).await?;
    let Ok(after) = timeout(patience, successor(&client, socket, &before)).await else {
        let seconds = patience.as_secs();
        let text = format!("it is not ready after {seconds} s; its log tells how far it is");
        return Err(Failure::new(Exit::Late, text));
    };
    let after = after?;
    let seconds = begin.elapsed().as_secs_f64();
    let version = |info: &Value| info.get("version").and_then(Value::as_str).unwrap_or("?").to_owned();
    let (former, version) = (version(&before), version(&after));
    if json {
        return Ok(writeln!(out, "{}", json!({"former": former, "version": version, "seconds": seconds}))?);
    }
    Ok(writeln!(out, "{version} serves instead of {former}, after {seconds:.2} s")?)
}

async fn info(client: &Client) -> Result<Value, Failure> {
    let told = client.ask(Method::GET, "/runtime/info").await?;
    serde_json::from_slice(&told)
        .map_err(|error| Failure::new(Exit::Failed, format!("the answer is not understood: {error}")))
}

/// What the one that has started since says of itself, once it is ready. A connection that the former one leaves behind
/// is no end; a socket that nobody keeps is.
async fn successor(client: &Client, socket: &Path, before: &Value) -> Result<Value, Failure> {
    loop {
        let mut pause = AGAIN;
        if let Ok(now) = info(client).await {
            if let Some(reason) = now.get("upgrade_failed").and_then(Value::as_str) {
                let text = format!("{reason}; what ran before serves");
                return Err(Failure::new(Exit::Refused, text));
            }
            let has_started = now.get("start_time") != before.get("start_time");
            if has_started && now.get("status").and_then(Value::as_str) == Some("healthy") {
                return Ok(now);
            }
            if !has_started {
                pause = WAITING;
            }
        } else if let Err(error) = UnixStream::connect(socket).await {
            let text = format!("the runtime has ended ({error}); its log tells why");
            return Err(Failure::new(Exit::Failed, text));
        }
        sleep(pause).await;
    }
}
