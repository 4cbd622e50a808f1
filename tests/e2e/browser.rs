//! A package's pages in a real browser: files, their own requests, server-sent events, and a WebSocket.

use std::{path::PathBuf, process::Stdio};

use serde_json::Value;

use crate::harness::{par, scratch};

/// Where pictures of the pages are kept: beside the binary under test.
fn pictures() -> PathBuf {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_par"));
    let directory = binary.parent().expect("it lies somewhere").join("pictures");
    std::fs::create_dir_all(&directory).expect("a directory");
    directory
}

/// Opens a page and waits until it is connected to its own agent.
async fn open(address: &str, name: &str) -> Value {
    let profile = scratch();
    let picture = pictures().join(format!("{name}.png"));
    // A picture of an earlier run would prove nothing.
    drop(std::fs::remove_file(&picture));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/harness/browser.mjs");
    let ran = tokio::process::Command::new("node")
        .args([script, address, "connected"])
        .arg(&picture)
        .arg(profile.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("node");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let bytes = std::fs::read(&picture).expect("a picture");
    assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 1000, "{} bytes", bytes.len());
    serde_json::from_slice(&ran.stdout).expect("what is on the page")
}

fn connected(page: &Value) {
    assert_eq!(page["title"], "connected: hello", "{page}");
    assert_eq!((&page["texts"]["rest"], &page["texts"]["ws"]), (&"pong".into(), &"hello".into()), "{page}");
    assert_eq!(page["texts"]["events"], "0:0 1:1 2:2", "{page}");
    assert_ne!(page["color"], "rgb(0, 0, 0)", "its style is there: {page}");
}

#[tokio::test]
async fn a_page_of_a_package_reaches_its_own_agent_by_http_by_events_and_by_websocket() {
    let par = par().agent("surfaces").start().await;
    for (id, picture) in [("surfaces", "page"), ("surfaces@1.0.0", "page-of-a-version")] {
        let address = format!("http://127.0.0.1:{}/agents/{id}/ui/", par.port);
        connected(&open(&address, picture).await);
    }
}
