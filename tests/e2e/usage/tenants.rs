//! Very many tenants.

use std::net::SocketAddr;

use tokio::task::JoinSet;

use super::super::limits::{from, resident_bytes};
use crate::harness::{Par, par};

/// Tenants; identity is off, so every address of loopback is one.
const TENANTS: u32 = 10_000;

async fn series(par: &Par) -> usize {
    let text = par.metrics().get("/metrics").await.text();
    text.lines().filter(|line| !line.starts_with('#')).count()
}

/// How many tenants have how many calls.
async fn counted(par: &Par) -> (usize, u64) {
    let told = par.operator().get("/runtime/usage?by=tenant").await.ok();
    let rows = told["rows"].as_array().expect("rows");
    (rows.len(), rows.iter().map(|row| row["requests"].as_u64().expect("a number")).sum())
}

#[tokio::test]
async fn ten_thousand_tenants_are_told_apart_in_the_ledger_and_not_in_metrics() {
    let par = par().agent("echo").start().await;
    let to = SocketAddr::from(([127, 0, 0, 1], par.port));
    let call_all = async |numbers: std::ops::Range<u32>| {
        let mut callers = JoinSet::new();
        for part in 0..16 {
            let numbers = numbers.clone().filter(move |number| number % 16 == part);
            callers.spawn(async move {
                for number in numbers {
                    let [_, high, middle, low] = number.to_be_bytes();
                    assert_eq!(from([127, 1 + high, middle, low], to).await, 200);
                }
            });
        }
        callers.join_all().await;
    };
    // Buffers and allocators grow with the first calls, whoever makes them.
    call_all(0..1_000).await;
    let (before, few) = (resident_bytes(par.process().pid), series(&par).await);
    call_all(1_000..TENANTS).await;
    let grown = resident_bytes(par.process().pid).saturating_sub(before);
    assert!(grown < 32 << 20, "9,000 tenants took {grown} bytes");
    assert!(series(&par).await <= few + 20, "tenants are no labels");
    assert_eq!(counted(&par).await, (TENANTS as usize, u64::from(TENANTS)));
    let csv = par.cli(&["usage", "--by", "tenant", "--csv"]).await;
    assert_eq!(csv.stdout.lines().count(), TENANTS as usize + 1);
    let par = par.restart().await;
    assert_eq!(counted(&par).await, (TENANTS as usize, u64::from(TENANTS)));
    // Killed in the middle of so many lines, it would leave half of one.
    par.stop().await;
}
