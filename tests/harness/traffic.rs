//! Callers that never stop calling while something changes, each on a connection of its own.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{Client, eventually};

/// One answer, as far as it matters here.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// HTTP status; 0 if there was no answer.
    pub(crate) status: u16,
    /// `X-PAR-Generation`.
    pub(crate) generation: u64,
    /// The body, or what went wrong.
    pub(crate) text: String,
}

/// Calls until it is told to stop.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    calls: Arc<std::sync::atomic::AtomicUsize>,
    callers: Vec<JoinHandle<Vec<Seen>>>,
}

impl Traffic {
    /// Callers of one agent; each waits for its answer before it calls again.
    pub(crate) async fn start(callers: impl IntoIterator<Item = Client>, agent: &str) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let calls = Arc::<std::sync::atomic::AtomicUsize>::default();
        let path = format!("/agents/{agent}/invoke");
        let call = |client: Client| {
            let (stop, calls, path) = (Arc::clone(&stop), Arc::clone(&calls), path.clone());
            tokio::spawn(async move {
                let mut seen = vec![];
                while !stop.load(Ordering::Relaxed) {
                    seen.push(one(&client, &path).await);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                seen
            })
        };
        let callers = callers.into_iter().map(call).collect();
        let traffic = Self { stop, calls, callers };
        traffic.goes_on().await;
        traffic
    }

    /// Waits until every caller has had time for a few more calls.
    pub(crate) async fn goes_on(&self) {
        let enough = self.calls.load(Ordering::Relaxed) + 10 * self.callers.len();
        eventually("more calls", async || (self.calls.load(Ordering::Relaxed) >= enough).then_some(())).await;
    }

    /// Stops; what each caller saw, in order. Fails the test if any call failed.
    pub(crate) async fn all_answered(self) -> Vec<Vec<Seen>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = vec![];
        for caller in self.callers {
            let seen = caller.await.expect("a caller that did not panic");
            let failed: Vec<&Seen> = seen.iter().filter(|one| one.status != 200).collect();
            assert!(failed.is_empty(), "{} of {} calls failed: {failed:?}", failed.len(), seen.len());
            let falls = seen.windows(2).find(|two| two[1].generation < two[0].generation);
            assert!(falls.is_none(), "a later answer came from an earlier generation: {falls:?}");
            all.push(seen);
        }
        all
    }
}

async fn one(client: &Client, path: &str) -> Seen {
    let empty = Value::Object(serde_json::Map::new());
    let response = match client.request(Method::POST, path).json(&empty).send().await {
        Ok(response) => response,
        Err(error) => return Seen { status: 0, generation: 0, text: format!("{error:?}") },
    };
    let status = response.status().as_u16();
    let generation = response.headers().get("x-par-generation");
    let generation = generation.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or_default();
    match response.text().await {
        Ok(text) => Seen { status, generation, text },
        Err(error) => Seen { status: 0, generation, text: format!("{error:?}") },
    }
}
