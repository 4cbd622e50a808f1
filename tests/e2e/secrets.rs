//! What is confided to the runtime stays there: references instead of values, and nothing secret in what it says.

use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::harness::{
    Answered, Client, Delivery, GrpcClient, Output, Package, Par, Receiver, Rpc, Sender, eventually,
    grpc::field, par, par_command, scratch,
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A token as issuers make them; its signature fits nothing.
const TOKEN: &str =
    "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJzb21lYm9keSJ9.c2lnbmF0dXJlLW9mLXNvbWVib2R5";

/// Secrets in the forms in which careless code tells them, and what of them must not be seen.
const LEAKS: &[(&str, &str)] = &[
    ("calling with Authorization: Bearer opaque-0123456789abcdef", "opaque-0123456789abcdef"),
    ("{\"authorization\": \"Basic dXNlcjpwYXNzd29yZC1vZi11c2Vy\"}", "dXNlcjpwYXNzd29yZC1vZi11c2Vy"),
    ("Cookie: session=c00k1e-of-somebody; theme=dark", "c00k1e-of-somebody"),
    ("GET https://bucket.example/k?X-Amz-Signature=51gnatur3&X-Amz-Date=1", "51gnatur3"),
    ("postgres://reader:pa55phrase@db.example/x", "pa55phrase"),
    ("stripe key sk_live_0123456789abcdefghij", "0123456789abcdefghij"),
    (TOKEN, "c2lnbmF0dXJlLW9mLXNvbWVib2R5"),
];

/// An agent that tells its input everywhere it can: in its output, and in the error that its caller sees.
const GOSSIP: &str = "
import sys

def run(input):
    print(input['tell'])
    print(input['tell'], file=sys.stderr)
    raise ValueError(input['tell'])
";

/// What the runtime has said and would say: its log so far, and the lines that operators can ask for.
async fn told(par: &Par) -> String {
    par.everything_said() + &par.operator().get("/runtime/logs").await.text()
}

#[tokio::test]
async fn secrets_of_careless_agents_reach_neither_log_nor_caller() {
    let scratch = scratch();
    let package = Package::with_main("gossip", "1.0.0", GOSSIP);
    let par = par().production().env("LOG_LEVEL", "trace").source(package.apkg(scratch.path())).start().await;
    for (leak, secret) in LEAKS {
        let told = par.http.invoke("gossip", &json!({"tell": leak})).await.problem(500, "agent_error");
        assert!(told["error"]["message"].as_str().is_some_and(|text| text.contains('*')), "{told}");
        assert!(!told.to_string().contains(secret), "{told}");
    }
    par.wait_for_line("the agent's last words", |line| {
        line.event() == "agent_output" && line.mentions("***")
    })
    .await;
    let told = told(&par).await;
    for (_, secret) in LEAKS {
        assert!(!told.contains(secret), "{secret} is in the log");
    }
}

/// Over gRPC what an agent fails at is a result, and what the runtime refuses is a status: two more ways out.
#[tokio::test]
async fn secrets_of_careless_agents_do_not_leave_by_grpc_either() {
    const INVOKE: &str = "/pixell.agent.AgentService/Invoke";
    let scratch = scratch();
    let package = Package::with_main("gossip", "1.0.0", GOSSIP);
    let par = par().source(package.apkg(scratch.path())).start().await;
    for (leak, secret) in LEAKS {
        let entry = [field(1, "tell"), field(2, leak)].concat();
        let action = [field(1, "invoke"), field(2, entry), field(3, "r")].concat();
        let told = GrpcClient::Python.one(&par, Rpc::unary(INVOKE, action).to("gossip")).await;
        let said = String::from_utf8_lossy(told.ok()).into_owned();
        assert!(said.contains('*') && !said.contains(secret), "{said}");
    }
    let nobody = Rpc::unary(INVOKE, "").to("sk_live_0123456789abcdefghij");
    let told = GrpcClient::Python.one(&par, nobody).await;
    let said = told.refused(5);
    assert!(said.contains('*') && !said.contains("0123456789abcdefghij"), "{said}");
}

/// What a package says while it starts is quoted to operators, to who may only look, and in letters.
#[tokio::test]
async fn what_a_package_says_when_it_cannot_start_is_quoted_without_secrets() {
    let (receiver, scratch) = (Receiver::start().await, scratch());
    let failing = |number: usize, leak: &str| {
        Package::with_main(&format!("failing-{number}"), "1.0.0", &format!("raise ValueError({leak:?})\n"))
    };
    let mut par = par().production().env("WEBHOOK_URL", receiver.url()).env("WEBHOOK_SECRET", SECRET);
    for (number, (leak, _)) in LEAKS.iter().enumerate() {
        par = par.source(failing(number, leak).apkg(scratch.path()));
    }
    let par = par.allow("package_failed").start().await;
    let operator = par.operator();
    let letters = eventually("a letter about each", async || {
        let letters: Vec<_> = receiver
            .deliveries()
            .iter()
            .filter(|one| one.kind() == "package.failed")
            .map(Delivery::json)
            .collect();
        (letters.len() >= LEAKS.len()).then(|| json!(letters).to_string())
    })
    .await;
    let mut uploaded = String::new();
    for (number, (leak, _)) in LEAKS.iter().enumerate() {
        let file = Part::bytes(failing(number + LEAKS.len(), leak).bytes()).file_name("failing.apkg");
        let request = operator.request(reqwest::Method::POST, "/runtime/packages/upload");
        let refused = request.multipart(Form::new().part("file", file)).answer().await;
        uploaded += &refused.problem(422, "package_invalid").to_string();
    }
    let again = operator.post("/runtime/reload", &json!({"force": true})).await.ok();
    let mut leaked = vec![];
    for (way, told) in [
        ("the list", operator.get("/runtime/packages").await.ok().to_string()),
        ("receipts", operator.get("/runtime/rollouts").await.ok().to_string()),
        ("a reload", again.to_string()),
        ("an upload", uploaded),
        ("letters", letters),
        ("the command line", par.cli(&["packages", "--json"]).await.stdout),
        ("the log", told(&par).await),
    ] {
        let quoted = told.matches("ValueError").count();
        assert!(quoted >= LEAKS.len(), "{way}: it is told why {quoted} times: {told}");
        leaked.extend(
            LEAKS.iter().filter(|(_, secret)| told.contains(secret)).map(|(_, secret)| (way, secret)),
        );
    }
    assert!(leaked.is_empty(), "{leaked:?}");
}

#[tokio::test]
async fn tokens_and_cookies_of_callers_are_never_logged_at_any_level() {
    // At this level the proxy says that the management side answered before it had read all.
    let par = par().production().env("LOG_LEVEL", "trace").agent("echo").allow("log").start().await;
    let cookie = "session=c00k1e-of-somebody";
    for path in ["/agents/echo/invoke", "/runtime/packages", "/nowhere", "/agents/nobody/invoke"] {
        let request = par.http.request(reqwest::Method::POST, &format!("{path}?access_token={TOKEN}"));
        let request = request.bearer_auth(TOKEN).header("cookie", cookie).json(&json!({}));
        request.answer().await;
    }
    par.http
        .with_bearer("0123456789abcdef-not-the-token")
        .get("/runtime/logs")
        .await
        .problem(401, "unauthenticated");
    par.wait_for_line("the last access line", |line| {
        line.event() == "access" && line.mentions("/runtime/logs")
    })
    .await;
    let told = told(&par).await;
    for secret in [TOKEN, "c00k1e", "0123456789abcdef-not-the-token", &par.operator_token()] {
        assert!(!told.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn a_signed_address_that_fails_is_told_without_its_signature() {
    let receiver = Receiver::start().await;
    let url = "http://127.0.0.1:9/p.apkg?X-Amz-Signature=51gnatur3&X-Amz-Security-Token=53cur1ty";
    let par = par()
        .production()
        .env("WEBHOOK_URL", receiver.url())
        .env("WEBHOOK_SECRET", SECRET)
        .env("LOG_LEVEL", "debug")
        .source(url)
        .allow("*")
        .start()
        .await;
    let failed: Value = par.operator().get("/runtime/packages").await.ok();
    assert_eq!(failed["failed"].as_array().map(Vec::len), Some(1), "{failed}");
    let letter = receiver.accepts("package.failed").await;
    let told = told(&par).await + &failed.to_string() + &letter.json().to_string();
    for secret in ["51gnatur3", "53cur1ty"] {
        assert!(!told.contains(secret), "{secret} was told");
    }
}

#[tokio::test]
async fn a_value_may_stand_in_a_variable_or_in_a_file() {
    let scratch = scratch();
    let file = scratch.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).expect("a file");
    for reference in [format!("file:{}", file.display()), "env:SECRET_OF_THE_REGISTRY".to_owned()] {
        let par = par()
            .production()
            .env("SECRET_OF_THE_REGISTRY", SECRET)
            .setting("registry.webhook_secret", reference.clone())
            .agent("echo")
            .start()
            .await;
        assert!(Sender::new(SECRET, "msg_1", "{}").deliver(&par.http).await.status < 300, "{reference}");
        assert_eq!(Sender::new(&reference, "msg_2", "{}").deliver(&par.http).await.status, 401);
        assert!(!told(&par).await.contains(SECRET), "{reference}");
    }
}

#[tokio::test]
async fn references_that_lead_nowhere_end_the_start_and_are_all_named() {
    let mut par = par()
        .setting("registry.webhook_secret", "env:NOT_SET_ANYWHERE")
        .setting("webhooks.secret", "file:/nowhere/at/all")
        .env("PAR_OPERATOR_TOKEN", "file:/dev/null")
        .allow("*")
        .launch();
    assert_eq!(par.exit().await.code(), Some(64));
    let said = par.everything_said();
    for words in ["NOT_SET_ANYWHERE", "/nowhere/at/all", "PAR_OPERATOR_TOKEN", "webhooks.secret"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[tokio::test]
async fn authorization_reaches_only_agents_that_ask_for_it() {
    let scratch = scratch();
    let code = "def run(input, context):\n    return context.authorization\n";
    let asks = Package::new("asks", "1.0.0", "entrypoint: main:run\nforward_authorization: true")
        .file("main.py", code);
    let silent = Package::with_main("silent", "1.0.0", code);
    let par = par()
        .production()
        .source(asks.apkg(scratch.path()))
        .source(silent.apkg(scratch.path()))
        .start()
        .await;
    let client = par.http.with_bearer("opaque-0123456789");
    assert_eq!(client.invoke("asks", &json!({})).await.ok(), "Bearer opaque-0123456789");
    assert_eq!(client.invoke("silent", &json!({})).await.ok(), Value::Null);
    assert_eq!(par.http.invoke("asks", &json!({})).await.ok(), Value::Null);
    // In an envelope, too.
    let answer = client.envelope("asks", &json!({"input": {}})).await.ok();
    assert_eq!(answer["output"], "Bearer opaque-0123456789");
}

/// The token that one agent was given is not for those that it calls.
#[tokio::test]
async fn authorization_goes_on_from_agent_to_agent_only_to_those_that_ask_for_it() {
    let scratch = scratch();
    let code = "from pixell_runtime import runtime\n\n\
                def run(input, context):\n    \
                return [context.authorization] + [runtime.call(agent) for agent in input.get('call', [])]\n";
    let mut par = par().production();
    for (name, manifest) in [
        ("asks", "entrypoint: main:run\nforward_authorization: true"),
        ("asks-too", "entrypoint: main:run\nforward_authorization: true"),
        ("silent", "entrypoint: main:run"),
    ] {
        par = par.source(Package::new(name, "1.0.0", manifest).file("main.py", code).apkg(scratch.path()));
    }
    let par = par.start().await;
    let client = par.http.with_bearer("opaque-0123456789");
    let token = "Bearer opaque-0123456789";
    let told = client.invoke("asks", &json!({"call": ["silent", "asks-too"]})).await.ok();
    assert_eq!(told, json!([token, [null], [token]]));
    let told = client.invoke("silent", &json!({"call": ["asks"]})).await.ok();
    assert_eq!(told, json!([null, [null]]), "what the first one was not told nobody behind it is");
}

#[tokio::test]
async fn the_configuration_that_check_tells_has_no_secrets() {
    let mut command = par_command();
    command.arg("check").env("WEBHOOK_SECRET", "whsec_hunter2hunter2!").env("MAX_PACKAGES", "many");
    let Output { code, stdout, stderr } = Output::of(command).await;
    assert_eq!(code, 64, "{stderr}");
    assert!(stderr.contains("WEBHOOK_SECRET") && stderr.contains("MAX_PACKAGES"), "{stderr}");
    assert!(!format!("{stdout}{stderr}").contains("hunter2"), "{stdout}{stderr}");
}

/// Nobody but the operator reads the log.
#[tokio::test]
async fn the_log_is_for_operators() {
    let par = par().production().agent("echo").start().await;
    for client in [par.http.clone(), Client::new(par.port).with_bearer("wrong")] {
        client.get("/runtime/logs").await.problem(401, "unauthenticated");
    }
}
