//! What a service manager hears of it: a reload, and signs of life throughout.

use std::{
    os::unix::net::UnixDatagram,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::json;

use super::{copy, upgraded};
use crate::harness::{Answered as _, Client, eventually, par, scratch};

#[tokio::test]
async fn signs_of_life_go_on_while_nobody_is_answered() {
    const WATCHDOG: Duration = Duration::from_secs(2);
    let folder = scratch();
    let place = folder.path().join("notify");
    let socket = UnixDatagram::bind(&place).expect("a socket");
    let heard = Arc::new(Mutex::new(Vec::<(Instant, String)>::new()));
    let hearing = Arc::clone(&heard);
    std::thread::spawn(move || {
        let mut text = [0; 256];
        while let Ok(length) = socket.recv(&mut text) {
            let told = String::from_utf8_lossy(&text[..length]).into_owned();
            hearing.lock().expect("no holder panics").push((Instant::now(), told));
        }
    });
    let par = par()
        .production()
        .agent("slow")
        .env("NOTIFY_SOCKET", place.to_string_lossy())
        .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
        .env("GRACEFUL_SHUTDOWN_TIMEOUT_SEC", "3")
        .start()
        .await;
    // One that does not end within the grace: so the doors are closed for all of another.
    let client = Client::new(par.port);
    let call = tokio::spawn(async move {
        let call = client.request(reqwest::Method::POST, "/agents/sleep/invoke");
        call.json(&json!({"seconds": 60.0})).try_answer().await
    });
    par.wait_for_line("it runs", |line| line.mentions("sleep began")).await;
    par.allow("*");
    upgraded(&par, &copy(folder.path(), "par-next")).await;
    drop(call.await.expect("a task"));
    let told = eventually("it is ready again", async || {
        let told = heard.lock().expect("no holder panics").clone();
        (told.iter().filter(|(_, text)| text == "READY=1").count() == 2).then_some(told)
    })
    .await;
    let kinds: Vec<_> = told.iter().map(|(_, text)| text.split('=').next().unwrap_or_default()).collect();
    assert!(kinds.contains(&"RELOADING") && !kinds.contains(&"STOPPING"), "{kinds:?}");
    for pair in told.windows(2) {
        let silence = pair[1].0 - pair[0].0;
        assert!(silence < WATCHDOG, "{silence:?} between {:?} and {:?}", pair[0].1, pair[1].1);
    }
}
