//! What `examples/embedded.rs` shows holds: the pool without a gateway, in a program of somebody else's.

use std::path::Path;

#[path = "../examples/embedded.rs"]
#[expect(dead_code, reason = "its `main` is for people")]
mod embedded;

fn package(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/agents").join(name).to_string_lossy().into_owned()
}

#[tokio::test]
async fn a_program_mounts_a_package_and_calls_its_agent() {
    let result = embedded::call(&package("hello"), "hello", r#"{"name": "Ada"}"#).await.expect("a result");
    let told: serde_json::Value = serde_json::from_slice(&result).expect("JSON");
    assert_eq!(told, serde_json::json!({"message": "Hello, Ada!"}));
}

#[tokio::test]
async fn what_does_not_work_says_why() {
    for (name, agent, input, wanted) in [
        ("none", "hello", "{}", "none"),
        ("hello", "nobody", "{}", "there is no agent"),
        ("faulty", "raises", "{}", "own message"),
    ] {
        let error = embedded::call(&package(name), agent, input).await.expect_err(wanted);
        assert!(error.to_string().contains(wanted), "{error}");
    }
}
