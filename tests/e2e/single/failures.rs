//! Step 8: boots that fail again and again wait before they end.

use std::time::{Duration, Instant};

use super::{ID, failing, fails, line, saying, serving};
use crate::harness::{Par, par, scratch};

fn waits(par: &Par) -> f64 {
    line(par, "boot_failed")["details"]["wait_seconds"].as_f64().expect("a number")
}

#[tokio::test]
async fn failures_in_a_row_wait_longer_until_a_boot_is_ready() {
    let place = scratch();
    let nowhere = place.path().join("later.apkg");
    let builder = failing(par().single(ID, nowhere.to_string_lossy()));
    for seconds in [0.0, 1.0, 2.0] {
        let mut par = builder.clone().launch();
        assert_eq!(fails(&mut par).await, 69, "health was 503 until the end");
        assert!((waits(&par) - seconds).abs() < 0.01, "{seconds}: {}", par.everything_said());
        // What it has started goes with it.
        drop(par);
    }
    std::fs::write(&nowhere, saying("x").bytes()).expect("a file");
    let ready = builder.clone().start().await;
    let again = ready.stop().await;
    std::fs::remove_file(&nowhere).expect("it is there");
    let mut par = again.launch();
    assert_eq!(fails(&mut par).await, 69);
    assert!(waits(&par).abs() < 0.01, "counted anew: {}", par.everything_said());
}

#[tokio::test]
async fn failures_that_somebody_outside_has_counted_count_and_a_signal_cuts_the_wait_short() {
    let mut par = failing(par().single(ID, "/nowhere/x.apkg")).env("BOOT_FAILURE_COUNT", "30").launch();
    par.wait_for_line("the boot has failed", |line| line.event() == "boot_failed").await;
    assert!((waits(&par) - 60.0).abs() < 0.01, "the longest wait: {}", par.everything_said());
    assert_eq!(par.http.get("/health").await.status, 503);
    assert!(par.exited().is_none(), "it waits");
    let begun = Instant::now();
    par.term();
    assert_eq!(par.exit().await.code(), Some(69), "what has failed is not a clean stop");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_start_that_does_not_even_listen_is_counted_too() {
    let place = scratch();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let builder = serving(&saying("x"), place.path()).env("REST_PORT", port).allow("start_failed");
    for seconds in [0.0, 1.0] {
        let mut par = builder.clone().launch();
        assert_eq!(par.exit().await.code(), Some(70));
        let waited = line(&par, "start_failed")["details"]["wait_seconds"].as_f64().expect("a number");
        assert!((waited - seconds).abs() < 0.01, "{waited}");
    }
}
