//! Whether a `par` with this configuration runs already: its local socket in, who answers there out.

use std::{path::Path, time::Duration};

use http::Method;
use serde_json::Value;
use tokio::{net::UnixStream, time::timeout};

use super::{super::client::Client, checked::Check};

const NAME: &str = "running par";

/// A `par` that runs answers in milliseconds. Everything else waits for this, so it is short.
const PATIENCE: Duration = Duration::from_secs(2);

/// Somebody who listens at the local socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Running {
    /// His process, as the kernel says.
    pub(super) pid: Option<u32>,
    /// The version that he tells; none: he did not answer.
    version: Option<String>,
}

/// Looks. None: nobody listens.
pub(super) async fn probe(socket: &Path) -> Option<Running> {
    let stream = timeout(PATIENCE, UnixStream::connect(socket)).await.ok()?.ok()?;
    let pid = stream.peer_cred().ok().and_then(|peer| peer.pid()).and_then(|pid| u32::try_from(pid).ok());
    drop(stream);
    let client = Client::new(socket);
    let told = timeout(PATIENCE, client.ask(Method::GET, "/runtime/info")).await;
    let told: Option<Value> =
        told.ok().and_then(Result::ok).and_then(|told| serde_json::from_slice(&told).ok());
    let version = told.and_then(|told| Some(told.get("version")?.as_str()?.to_owned()));
    Some(Running { pid, version })
}

/// Pure.
pub(super) fn judge(running: Option<&Running>) -> Check {
    let Some(Running { pid, version }) = running else {
        return Check::skipped(NAME, "none with this configuration");
    };
    let process = pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
    match version {
        Some(version) => Check::ok(NAME, format!("version {version}, {process}")),
        None => Check::failed(
            NAME,
            format!("{process} listens at the local socket and does not answer"),
            "read its log; end it with SIGTERM, and with SIGKILL if that does nothing",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::checked::Verdict, *};

    #[test]
    fn one_that_listens_and_is_silent_is_a_failure() {
        let running = |version: Option<&str>| Running { pid: Some(7), version: version.map(str::to_owned) };
        assert_eq!(judge(None).verdict, Verdict::Skipped);
        assert_eq!(judge(Some(&running(Some("1.2.3")))).found, "version 1.2.3, process 7");
        assert_eq!(judge(Some(&running(None))).verdict, Verdict::Failed);
    }
}
