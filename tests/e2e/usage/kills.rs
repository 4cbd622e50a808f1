//! `kill -9` under load: whatever a client was answered is in the ledger, once.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};

use super::{call, host};
use crate::harness::{Answered, Client, eventually, scratch};

/// How often it is killed.
const KILLS: usize = 8;

/// Calls until the process is gone; notes the names of those that were answered.
async fn load(
    client: Client,
    next: Arc<AtomicU64>,
    answered: Arc<Mutex<HashSet<String>>>,
    over: Arc<AtomicBool>,
) {
    while !over.load(Ordering::Relaxed) {
        let id = format!("r{}", next.fetch_add(1, Ordering::Relaxed));
        let Ok(answer) = call(&client, &id, "plain/echo", &json!({"n": 1})).try_answer().await else {
            continue;
        };
        if answer.status == 200 {
            answered.lock().expect("no holder panics").insert(id);
        }
    }
}

#[tokio::test]
async fn whatever_was_answered_before_a_kill_is_in_the_ledger_once() {
    let folder = scratch();
    let (next, answered) = (Arc::<AtomicU64>::default(), Arc::<Mutex<HashSet<String>>>::default());
    let mut builder = host(folder.path()).setting("metering.segment_bytes", "256KiB");
    for round in 0..KILLS {
        let mut par = builder.start().await;
        let over = Arc::<AtomicBool>::default();
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let (next, answered, over) = (Arc::clone(&next), Arc::clone(&answered), Arc::clone(&over));
                tokio::spawn(load(Client::new(par.port), next, answered, over))
            })
            .collect();
        let before = answered.lock().expect("no holder panics").len();
        // At another moment of the rounds of the thread that adds.
        let enough = before + 100 * (round + 1);
        eventually("load", async || {
            (answered.lock().expect("no holder panics").len() >= enough).then_some(())
        })
        .await;
        par.kill();
        par.exit().await;
        over.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.await.expect("a caller that did not panic");
        }
        builder = par.anew();
    }
    let mut par = builder.start().await;
    par.term();
    par.exit().await;
    let calls = par.cli(&["usage", "--calls"]).await;
    let mut times = HashMap::<String, u32>::new();
    for line in calls.stdout.lines() {
        let record: Value = serde_json::from_str(line).expect("a record");
        if record["kind"] == "call" {
            *times.entry(record["request_id"].as_str().expect("a name").to_owned()).or_default() += 1;
        }
    }
    let answered = answered.lock().expect("no holder panics").clone();
    assert!(answered.len() > 100 * KILLS);
    let lost: Vec<_> = answered.iter().filter(|id| !times.contains_key(*id)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), answered.len());
    assert!(times.values().all(|times| *times == 1), "no call is recorded twice");
    let sums = par.cli(&["usage", "--by", "tenant", "--json"]).await.json();
    assert_eq!(sums["rows"][0]["requests"], times.len(), "and each is added once: {sums}");
}
