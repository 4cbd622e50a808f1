//! Step 7: nothing secret is said, however much is said.

use serde_json::json;

use super::{ID, saying};
use crate::harness::{Package, S3Server, par};

#[tokio::test]
async fn nothing_secret_is_said_however_much_is_said() {
    let s3 = S3Server::start().await;
    let url = s3.put("packages-of-tests", "tiny.apkg", saying("x").bytes());
    let builder = s3
        .known_to(par().single(ID, url), s3.port)
        .env("LOG_LEVEL", "trace")
        .env("PAR_OPERATOR_TOKEN", "a-token-of-operators-4711")
        .env("WEBHOOK_SECRET", "a-secret-of-webhooks-4711")
        .env("WEBHOOK_URL", "http://127.0.0.1:9/hooks?token=a-token-of-hooks-4711")
        .env("AWS_SESSION_TOKEN", "")
        .env("THEIR_API_KEY", "a-key-of-agents-4711")
        .allow("*");
    let par = builder.start().await;
    assert_eq!(par.http.invoke(ID, &json!({})).await.ok(), json!("x"));
    let said = par.everything_said();
    assert!(said.contains("config_read"), "it does speak");
    for secret in [
        "a-token-of-operators",
        "a-secret-of-webhooks",
        "a-token-of-hooks",
        "a-key-of-agents",
        "opens-nothing-but",
    ] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
}

#[tokio::test]
async fn the_agent_gets_its_own_variables_and_none_of_ours() {
    let s3 = S3Server::start().await;
    let code = "import os\ndef run(input):\n    return sorted(os.environ)\n";
    let package = Package::with_main("env", "1.0.0", code);
    let url = s3.put("packages-of-tests", "env.apkg", package.bytes());
    let builder = s3.known_to(par().single(ID, url), s3.port);
    let par = builder.env("THEIR_API_KEY", "theirs").env("PAR_OPERATOR_TOKEN", "ours").start().await;
    let names = par.http.invoke(ID, &json!({})).await.ok();
    let names: Vec<&str> =
        names.as_array().expect("a list").iter().filter_map(|name| name.as_str()).collect();
    for name in ["THEIR_API_KEY", "AGENT_APP_ID", "AWS_REGION"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    for name in ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "PAR_OPERATOR_TOKEN", "PACKAGE_URL"] {
        assert!(!names.contains(&name), "{name} in {names:?}");
    }
}
