//! What a registry may say by webhook, and who else may not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Asked, HttpsServer, Index, Package, Par, Sender, eventually, par, scratch};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const FORMER: &str = "a secret as plain text";

struct Story {
    par: Par,
    web: HttpsServer,
    version: u32,
    _scratch: tempfile::TempDir,
}

impl Story {
    /// An index that nobody polls, and a runtime that listens to two secrets.
    async fn begin() -> Self {
        let scratch = scratch();
        let web = HttpsServer::start(scratch.path()).await;
        let url = Index::of([&package(1)]).on_web(&web);
        let par = par()
            .production()
            .env("REGISTRY_URL", url)
            .env("REGISTRY_POLL_INTERVAL", "1h")
            .env("REGISTRY_WEBHOOK_SECRET", format!("{SECRET} whsec_{}", base64_of(FORMER)))
            .env("SSL_CERT_FILE", web.authorities())
            .start()
            .await;
        Self { par, web, version: 1, _scratch: scratch }
    }

    /// The registry has something new.
    fn publish(&mut self) {
        self.version += 1;
        Index::of([&package(self.version)]).on_web(&self.web);
    }

    async fn is_live(&self) {
        eventually("what was published is live", async || {
            let answer = self.par.http.invoke("hooked", &json!({})).await;
            (answer.status == 200 && answer.json() == self.version.to_string().as_str()).then_some(())
        })
        .await;
    }

    fn polls(&self) -> Vec<Asked> {
        self.web.script.asked("index.json")
    }
}

fn package(version: u32) -> Package {
    Package::saying("hooked", &format!("{version}.0.0"), &version.to_string())
}

fn base64_of(text: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(text)
}

fn s3_event() -> Value {
    json!({"Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "packages"}, "object": {"key": "registry/index+1%20.json", "size": 10}},
    }]})
}

#[tokio::test]
async fn a_webhook_makes_what_was_published_live_within_a_second() {
    let mut story = Story::begin().await;
    story.publish();
    let polls = story.polls().len();
    let sent = Instant::now();
    let answer = Sender::new(SECRET, "msg_1", "{}").deliver(&story.par.http).await;
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    let asked = eventually("the index is asked", async || story.polls().get(polls).cloned()).await;
    assert!(asked.at - sent < Duration::from_secs(1), "asked after {:?}", asked.at - sent);
    story.is_live().await;
}

#[tokio::test]
async fn all_forms_of_notices_are_understood_with_either_secret() {
    let mut story = Story::begin().await;
    let wrapped = json!({"Type": "Notification", "MessageId": "1", "Message": s3_event().to_string()});
    let former = format!("whsec_{}", base64_of(FORMER));
    for (id, secret, body) in [
        ("msg_plain", SECRET, json!({"type": "anything"})),
        ("msg_package", &former, json!({"package": "hooked"})),
        ("msg_s3", SECRET, s3_event()),
        ("msg_sns", SECRET, wrapped),
    ] {
        story.publish();
        let answer = Sender::new(secret, id, &body.to_string()).deliver(&story.par.http).await;
        assert!((200..300).contains(&answer.status), "{id}: {}", answer.text());
        story.is_live().await;
    }
}

#[tokio::test]
async fn a_wrong_an_old_and_a_replayed_webhook_are_refused_and_nothing_happens() {
    let mut story = Story::begin().await;
    let http = story.par.http.clone();
    let good = Sender::new(SECRET, "msg_once", "{}");
    assert!((200..300).contains(&good.deliver(&http).await.status));
    eventually("its reload is over", async || (story.polls().len() >= 2).then_some(())).await;
    story.publish();
    let polls = story.polls().len();

    let message = |id: &str| Sender::new(SECRET, id, "{}");
    let signature = "v1,".to_owned() + &base64_of("no signature at all, only 32 byt");
    for (what, answer) in [
        ("replayed", good.deliver(&http).await),
        ("another secret", Sender::new("whsec_AAAA", "msg_2", "{}").deliver(&http).await),
        ("no signature", message("msg_3").deliver_as(&http, "", b"{}").await),
        ("wrong signature", message("msg_4").deliver_as(&http, &signature, b"{}").await),
        ("no base64", message("msg_5").deliver_as(&http, "v1,%%%", b"{}").await),
        ("too old", message("msg_6").sent(-3600).deliver(&http).await),
        ("of the future", message("msg_7").sent(3600).deliver(&http).await),
        ("without headers", http.post("/runtime/webhooks/registry", &json!({})).await),
        ("operator's token", story.par.operator().post("/runtime/webhooks/registry", &json!({})).await),
    ] {
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        assert!(!answer.text().contains("whsec"), "{what}: {}", answer.text());
    }
    let told = story.par.operator().get("/runtime/packages").await.ok();
    assert!(told["packages"].to_string().contains("hooked@1.0.0"), "{told}");
    assert_eq!(story.polls().len(), polls, "nobody asked the registry");
    assert!((200..300).contains(&message("msg_8").deliver(&http).await.status), "the right one still works");
    story.is_live().await;
}

#[tokio::test]
async fn a_body_that_was_changed_on_its_way_is_refused() {
    let story = Story::begin().await;
    let sender = Sender::new(SECRET, "msg_1", "{}");
    let answer = sender.deliver_as(&story.par.http, "v1,AAAA", b"{\"force\":true}").await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    let large = Sender::new(SECRET, "msg_2", &format!("\"{}\"", "x".repeat(2 << 20)));
    let answer = large.deliver(&story.par.http).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
}

#[tokio::test]
async fn without_a_secret_no_webhook_is_believed() {
    let par = par().production().agent("echo").start().await;
    for secret in ["", "whsec_", SECRET] {
        let answer = Sender::new(secret, "msg_1", "{}").deliver(&par.http).await;
        assert!(matches!(answer.status, 401 | 404), "{}", answer.text());
    }
}
