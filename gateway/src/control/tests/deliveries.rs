//! Webhooks out, as people see them.

use par_pool::fleet::{Event, EventKind};
use prometheus::Registry;

use super::*;
use crate::{
    config::Secret,
    webhooks::{WebhookSettings, Webhooks},
};

const PATH: &str = "/runtime/webhooks/deliveries";

#[tokio::test]
async fn without_a_receiver_there_are_no_deliveries() {
    let (status, body) = bench(false).ask(Role::Viewer, "GET", PATH, "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body, json!({"receiver": null, "pending": 0, "oldest": null, "dead": []}));
}

#[tokio::test]
async fn what_waits_for_the_receiver_is_shown() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut bench = bench(false);
    // Accepts connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", silent.local_addr().unwrap());
    let settings = WebhookSettings::new(
        format!("{origin}/hook").parse().unwrap(),
        vec![Secret::new("secret")],
        crate::observe::Redactor::new(),
    );
    let webhooks = Arc::new(Webhooks::start(settings, bench.root.path(), &Registry::new()).unwrap());
    bench.state.webhooks = Some(Arc::clone(&webhooks));
    let kind = EventKind::Switched { agent: "echo@1.0.0/say".parse().unwrap(), enabled: false };
    (webhooks.sink().0)(Event { package: "echo".to_owned(), at: SystemTime::UNIX_EPOCH, kind });
    let (status, body) = bench.ask(Role::Viewer, "GET", PATH, "").await;
    assert_eq!((status, &body["receiver"], &body["pending"]), (StatusCode::OK, &json!(origin), &json!(1)));
    let oldest = &body["oldest"];
    assert!(oldest["id"].as_str().unwrap().starts_with("msg_"));
    assert_eq!((&oldest["event"], &oldest["package"]), (&json!("agent.disabled"), &json!("echo")));
    assert_eq!((&oldest["created"], &oldest["attempts"]), (&json!("1970-01-01T00:00:00.000Z"), &json!(0)));
    webhooks.stop(std::time::Duration::ZERO).await;
    let (status, body) = bench.ask(Role::Viewer, "GET", PATH, "").await;
    assert_eq!((status.as_u16(), &body["code"]), (503, &json!("stopping")));
}
