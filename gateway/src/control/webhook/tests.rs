use std::time::UNIX_EPOCH;

use axum::{Router, body::to_bytes, http::Request, middleware, routing::post};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::Mac as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{super::refusal, *};
use crate::{config::Secret, observe::Redactor, webhooks::keys};

const SECRET: &str = "whsec_c2VjcmV0";

/// The route, and what it passed on.
struct Scene {
    router: Router,
    kicks: Arc<Mutex<Vec<Notice>>>,
}

fn scene() -> Scene {
    let kicks = Arc::new(Mutex::new(Vec::new()));
    let kick = {
        let kicks = Arc::clone(&kicks);
        Arc::new(move |notice| kicks.lock().push(notice))
    };
    let hook = Arc::new(Hook::new(Verifier::new(&[Secret::new(SECRET)]).unwrap(), kick));
    let router = Router::new()
        .route("/runtime/webhooks/registry", post(registry).with_state(hook))
        .layer(middleware::from_fn_with_state(Redactor::new(), refusal::finish));
    Scene { router, kicks }
}

fn signed(body: &str) -> Request<Body> {
    sent_at(UNIX_EPOCH.elapsed().unwrap().as_secs(), body)
}

fn sent_at(timestamp: u64, body: &str) -> Request<Body> {
    let [key] = &keys(&[Secret::new(SECRET)]).unwrap()[..] else { unreachable!("one key") };
    let code = key.clone().chain_update(format!("msg_1.{timestamp}.{body}")).finalize();
    Request::post("/runtime/webhooks/registry")
        .header("webhook-id", "msg_1")
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", format!("v1,{}", STANDARD.encode(code.into_bytes())))
        .body(Body::from(body.to_owned()))
        .unwrap()
}

async fn answer(scene: &Scene, request: Request<Body>) -> (u16, Value) {
    let response = scene.router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), LARGEST).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn a_signed_message_is_passed_on_and_answered_at_once() {
    let scene = scene();
    let answer = answer(&scene, signed(r#"{"package":"billing"}"#)).await;
    assert_eq!(answer, (202, json!({"status": "accepted"})));
    let wanted = Notice { package: Some("billing".to_owned()), ..Notice::default() };
    assert_eq!(*scene.kicks.lock(), [wanted]);
}

#[tokio::test]
async fn a_refused_message_does_nothing() {
    let scene = scene();
    let mut unsigned = signed("{}");
    unsigned.headers_mut().remove("webhook-signature");
    let mut changed = signed("{}");
    *changed.body_mut() = Body::from("[]");
    for (request, status, code) in [
        (unsigned, 401, "bad_signature"),
        (changed, 401, "bad_signature"),
        (signed("not json"), 400, "bad_json"),
        (signed(&" ".repeat(LARGEST + 1)), 413, "too_large"),
    ] {
        let (answered, problem) = answer(&scene, request).await;
        assert_eq!((answered, &problem["code"]), (status, &json!(code)), "{problem}");
    }
    assert!(scene.kicks.lock().is_empty());
}

#[tokio::test]
async fn a_repeated_message_is_refused() {
    let scene = scene();
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert_eq!(answer(&scene, sent_at(now, "{}")).await.0, 202);
    let (status, problem) = answer(&scene, sent_at(now, "{}")).await;
    assert_eq!((status, &problem["code"]), (401, &json!("bad_signature")));
    assert_eq!(scene.kicks.lock().len(), 1);
}

#[tokio::test]
async fn a_message_that_asks_for_nothing_is_accepted_and_not_passed_on() {
    let scene = scene();
    for body in [
        r#"{"Service":"Amazon S3","Event":"s3:TestEvent"}"#,
        r#"{"Type":"SubscriptionConfirmation","TopicArn":"arn","SubscribeURL":"https://sns.example/"}"#,
    ] {
        assert_eq!(answer(&scene, signed(body)).await.0, 202);
    }
    assert!(scene.kicks.lock().is_empty());
}
