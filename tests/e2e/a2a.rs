//! The service that every package has by gRPC, as clients that others made call it: actions in every form, health,
//! reflection, names and refusals.

mod access;
mod actions;

use serde_json::{Value, json};

use crate::harness::{
    CLIENTS, GrpcClient, Package, Rpc, Told,
    grpc::{field, fields, grpc_program, text_of},
    par, repository, scratch,
};

const INVOKE: &str = "/pixell.agent.AgentService/Invoke";

/// An `ActionRequest` in the older numbering.
fn action(name: &str, parameters: &[(&str, &str)], request_id: &str) -> Vec<u8> {
    let entry = |(key, value): &(&str, &str)| field(2, [field(1, key), field(2, value)].concat());
    [field(1, name), parameters.iter().flat_map(entry).collect(), field(3, request_id)].concat()
}

/// Whether an action went well, its result or its error, and its request id.
fn result(told: &Told) -> (bool, String, String) {
    let message = told.ok();
    let success = text_of(message, 1) == "1";
    (success, text_of(message, if success { 2 } else { 3 }), text_of(message, 4))
}

#[tokio::test]
async fn a_request_in_every_form_reaches_the_agent() {
    let par = par().agent("echo").start().await;
    let older = action("echo", &[("a", "1"), ("b", "{\"c\": 2}")], "r-1");
    let entry = field(3, [field(1, "a"), field(2, "1")].concat());
    let newer = [field(2, "aecho"), entry, field(4, "r-2")].concat();
    let params = json!({"message": {"kind": "message", "role": "user", "messageId": "m", "parts": [],
        "metadata": {"skill": "echo", "params": {"a": [1, 2.5, null], "deep": {"b": true}}}}});
    let inner = [field(1, "2.0"), field(2, "r-3"), field(3, "message/send"), field(4, params.to_string())];
    let a2a = field(1, inner.concat());
    let calls = [older, newer, a2a].map(|request| Rpc::unary(INVOKE, request).to("echo"));
    for client in CLIENTS {
        let told: Vec<_> = client.ask(&par, &calls).await.iter().map(result).collect();
        let wanted = [
            (json!({"a": "1", "b": "{\"c\": 2}"}), "r-1"),
            (json!({"a": "1"}), "r-2"),
            (json!({"a": [1, 2.5, null], "deep": {"b": true}}), "r-3"),
        ];
        for ((success, text, id), (output, request_id)) in told.into_iter().zip(wanted) {
            let output_told: Value = serde_json::from_str(&text).expect("a result is JSON");
            assert_eq!((success, output_told, id.as_str()), (true, output, request_id), "{client:?}");
        }
    }
}

#[tokio::test]
async fn stubs_and_clients_that_others_made_understand_it() {
    let par = par().agent("hello").start().await;
    let protos = repository().join("proto");
    let target = format!("127.0.0.1:{}", par.grpc_port);
    let service = "pixell.agent.AgentService";
    let arguments = [protos.to_str().expect("text"), &target, "hello", service];
    let found: Value =
        serde_json::from_str(&grpc_program("official.py", &arguments).await).expect("what it found");
    assert_eq!(found["ping"], "pong");
    assert_eq!(found["healthy"], true);
    assert_eq!(found["methods"], json!(["Health", "DescribeCapabilities", "Invoke", "Ping"]));
    assert_eq!(found["metadata"]["name"], "hello");
    let skills: Value =
        serde_json::from_str(found["metadata"]["skills"].as_str().expect("a text")).expect("JSON");
    let skill = &skills[0];
    assert!(skill["id"].is_string() && skill["name"].is_string() && skill["tags"] == json!([]), "{skills}");
    assert_eq!((&found["invoke"][0], &found["invoke"][2]), (&json!(true), &json!("mine")), "{found}");
    assert_eq!((&found["serving"], &found["service"]), (&json!(1), &json!(1)));
    let services = found["services"].as_array().expect("a list");
    assert!(services.len() == 4 && services.contains(&json!(service)), "{services:?}");
    assert_eq!(found["file"], "pixell/agent.proto");
}

#[tokio::test]
async fn what_is_served_by_reflection_is_what_the_proto_files_say() {
    let protos = repository().join("proto");
    let out = scratch();
    let made = out.path().join("made.binpb");
    let code =
        "import sys\nfrom grpc_tools import protoc\nsys.exit(protoc.main(['protoc', *sys.argv[1:]]))\n";
    let program = out.path().join("protoc.py");
    std::fs::write(&program, code).expect("a file");
    let set = format!("--descriptor_set_out={}", made.display());
    let include = format!("-I{}", protos.display());
    let files = [
        "pixell/agent.proto",
        "grpc/health/v1/health.proto",
        "grpc/reflection/v1/reflection.proto",
        "grpc/reflection/v1alpha/reflection.proto",
    ];
    let arguments = [&[include.as_str(), &set], files.as_slice()].concat();
    grpc_program(program.to_str().expect("text"), &arguments).await;
    let (made, kept) = (std::fs::read(made), std::fs::read(protos.join("services.binpb")));
    assert!(made.expect("it was made") == kept.expect("it is kept"), "protoc makes another services.binpb");
}

#[tokio::test]
async fn health_is_watched_until_the_runtime_stops() {
    let mut par = par().agent("echo").env("SHUTDOWN_DELAY_SEC", "2").start().await;
    let target = format!("127.0.0.1:{}", par.grpc_port);
    let watch = "/grpc.health.v1.Health/Watch";
    let calls = [Rpc::server(watch, field(1, "no.Such")).taking(1), Rpc::server(watch, "")];
    let watching = tokio::spawn(async move { GrpcClient::Python.ask_at(&target, None, &calls).await });
    par.wait_for_line("somebody watched", |line| line.event() == "access").await;
    // The second one watches as soon as the first has left.
    let open = "/grpc.health.v1.Health/Check";
    let told = GrpcClient::Node.one(&par, Rpc::unary(open, "")).await;
    assert_eq!(text_of(told.ok(), 1), "1");
    par.term();
    let told = watching.await.expect("it watched");
    assert_eq!(text_of(&told[0].responses[0], 1), "3", "nobody knows that service");
    let states: Vec<String> = told[1].responses.iter().map(|state| text_of(state, 1)).collect();
    assert_eq!((states, told[1].code), (vec!["1".to_owned(), "2".to_owned()], 14), "{:?}", told[1]);
    assert_eq!(par.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_service_that_answers_no_more_is_not_serving_and_an_unknown_one_is_not_found() {
    let par = par().agent("echo").start().await;
    let check = "/grpc.health.v1.Health/Check";
    let disabled = par.operator().post_empty("/runtime/agents/aecho/enable").await.ok();
    assert_eq!(disabled["enabled"], false);
    let calls = [
        Rpc::unary(check, ""),
        Rpc::unary(check, field(1, "grpc.health.v1.Health")),
        Rpc::unary(check, field(1, "no.Such")),
        Rpc::unary(check, "").to("echo"),
        Rpc::unary(check, field(1, "pixell.agent.AgentService")).to("aecho"),
        Rpc::unary(check, field(1, "no.Such")).to("echo"),
        Rpc::unary(check, "").to("nobody"),
        Rpc::unary("/pixell.agent.AgentService/Health", "").to("aecho"),
    ];
    let told = GrpcClient::Python.ask(&par, &calls).await;
    let serving = |at: usize| text_of(told[at].ok(), 1);
    assert_eq!([serving(0), serving(1), serving(3), serving(4)], ["1", "1", "1", "2"]);
    for at in [2, 5, 6] {
        told[at].refused(5);
    }
    let health = fields(told[7].ok());
    assert_eq!(health[0].1, b"Agent is disabled", "ok is left out: it is false");
}

#[tokio::test]
async fn a_lazy_package_is_mounted_by_its_first_call() {
    let scratch = scratch();
    let package = Package::with_main("sleepy", "1.0.0", "def run(input):\n    return 'awake'\n");
    let path = package.apkg(scratch.path());
    let par = par().setting("packages.lazy", vec![path.to_string_lossy().into_owned()]).start().await;
    let told = GrpcClient::Python.one(&par, Rpc::unary(INVOKE, action("invoke", &[], "")).to("sleepy")).await;
    let (success, text, id) = result(&told);
    assert_eq!((success, text.as_str()), (true, "awake"), "a text is itself");
    assert!(!id.is_empty(), "a request without an id gets one");
}
