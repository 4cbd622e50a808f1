//! Whom a call is for, who may make it, and what is told of it.

use serde_json::json;

use super::{INVOKE, action, result};
use crate::harness::{CLIENTS, GrpcClient, IdentityProvider, Package, Rpc, par, scratch};

fn hello(path: &str) -> Rpc {
    Rpc::unary(path, action("echo", &[("a", "1")], "r"))
}

#[tokio::test]
async fn an_agent_is_named_by_the_path_or_by_metadata_on_either_port() {
    let par = par().agent("echo").start().await;
    let main = format!("127.0.0.1:{}", par.port);
    for client in CLIENTS {
        let at = |id: &str| hello(&format!("/agents/{id}/a2a{INVOKE}"));
        let calls = [
            at("echo"),
            at("echo@1.0.0"),
            at("echo%401.0.0"),
            at("echo@1.0.0/echo"),
            at("echo%40" /* decoded once */).to("echo"),
            at("nobody"),
        ];
        let told = client.ask_at(&main, None, &calls).await;
        for told in &told[..4] {
            assert!(result(told).0, "{client:?}");
        }
        told[4].refused(5);
        told[5].refused(5);
        let calls = [
            at("echo%2Fecho"),
            hello(INVOKE).to("echo"),
            hello(INVOKE).to("echo@1.0.0/echo"),
            at("echo").to("nobody"),
            hello(INVOKE),
            hello(INVOKE).to("nobody"),
            hello("/example.own.Own/Say"),
            hello("/agents/echo/a2a/x"),
        ];
        let told = client.ask(&par, &calls).await;
        for told in &told[..4] {
            assert!(result(told).0, "the path counts before the metadata: {client:?}");
        }
        assert!(told[4].refused(3).contains("x-agent-id"));
        told[5].refused(5);
        told[6].refused(3);
        told[7].refused(12);
    }
}

#[tokio::test]
async fn who_has_not_proved_who_they_are_learns_nothing() {
    let (issuer, scratch) = (IdentityProvider::start().await, scratch());
    issuer.knows("clerk", json!({"roles": ["billing"], "tenant": "acme"})).await;
    issuer.knows("guest", json!({})).await;
    let manifest =
        "role_required: billing\nexports: [{id: books, handler: main:run}, {id: open, handler: main:run}]";
    let code = "def run(input):\n    return 'called'\n";
    let package = Package::new("books", "1.0.0", manifest).file("main.py", code);
    let par = issuer.believed_by(par()).source(package.apkg(scratch.path())).agent("echo").start().await;
    let (clerk, guest) = (issuer.token("clerk").await, issuer.token("guest").await);
    let books = || Rpc::unary(INVOKE, action("books", &[], "r")).to("books");
    let reflection =
        || Rpc::bidi("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", vec![vec![0x3a, 0]]);
    let calls = [
        books(),
        Rpc::unary(INVOKE, action("x", &[], "r")).to("nobody"),
        books().bearing("forged"),
        reflection(),
        Rpc::unary("/grpc.health.v1.Health/Check", crate::harness::grpc::field(1, "no.Such")),
        books().bearing(&guest),
        Rpc::unary("/grpc.health.v1.Health/Check", ""),
        books().bearing(&clerk),
        reflection().bearing(&guest),
        reflection().to("books").bearing(&guest),
        reflection().to("books").bearing(&clerk),
    ];
    for client in CLIENTS {
        let told = client.ask(&par, &calls).await;
        let texts: Vec<&str> = told[..5].iter().map(|told| told.refused(16)).collect();
        assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
        told[5].refused(7);
        assert_eq!(told[6].code, 0, "a probe proves nothing");
        assert_eq!(result(&told[7]).1, "called");
        assert_eq!((told[8].code, told[8].responses.len()), (0, 1));
        told[9].refused(7);
        assert_eq!(
            (told[10].code, told[10].responses.len()),
            (0, 1),
            "whoever may call may ask what to call"
        );
    }
    let lines = par.lines();
    let of_clerk = lines.iter().find(|line| line.event() == "access" && line.value()["tenant"] == "acme");
    assert_eq!(of_clerk.expect("the line of the clerk's call").value()["agent_id"], "books@1.0.0/books");
}

#[tokio::test]
async fn a_package_whose_agents_are_all_private_is_not_there() {
    let scratch = scratch();
    let manifest = "exports: [{id: inner, handler: main:run, private: true}]";
    let hidden = Package::new("hidden", "1.0.0", manifest).file("main.py", "def run(input):\n    return 1\n");
    let par = par().source(hidden.apkg(scratch.path())).agent("echo").start().await;
    let check = |id: &str| Rpc::unary("/grpc.health.v1.Health/Check", "").to(id);
    let mut texts = vec![];
    for id in ["nobody", "hidden", "hidden@1.0.0", "hidden/inner"] {
        let told = GrpcClient::Python.ask(&par, &[hello(INVOKE).to(id), check(id)]).await;
        texts.extend(told.iter().map(|told| told.refused(5).replace(id, "ID")));
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}

#[tokio::test]
async fn rates_are_told_as_exhausted_resources() {
    let par = par().agent("echo").setting("limits.tenant_rate", "1/m").start().await;
    let calls = [(); 2].map(|()| hello(INVOKE).to("echo"));
    let told = GrpcClient::Python.ask(&par, &calls).await;
    assert!(result(&told[0]).0);
    told[1].refused(8);
    assert!(
        told[1].header("retry-after").is_some() && told[1].header("ratelimit").is_some(),
        "{:?}",
        told[1]
    );
}

#[tokio::test]
async fn a_call_has_its_line_and_counts() {
    let par = par().agent("echo").start().await;
    let named = hello(INVOKE).to("echo").with("x-request-id", "mine-1");
    let told = GrpcClient::Node.ask(&par, &[named, hello(INVOKE).to("nobody")]).await;
    assert_eq!(told[0].header("x-request-id"), Some("mine-1"));
    assert_eq!(told[0].header("x-par-agent"), Some("echo@1.0.0/echo"));
    let line = par.wait_for_line("its line", |line| line.value()["request_id"] == "mine-1").await;
    assert_eq!(
        [&line.value()["status"], &line.value()["code"], &line.value()["details"]["grpc_status"]],
        [&json!(200), &json!("ok"), &json!(0)]
    );
    let refused = par.wait_for_line("the other", |line| line.value()["details"]["grpc_status"] == 5).await;
    assert_eq!(refused.value()["code"], "agent_not_found");
    let metrics = par.metrics().get("/metrics").await.text();
    assert!(
        metrics.contains("par_requests_total{agent=\"echo@1.0.0/echo\",code=\"ok\",version=\"1.0.0\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn the_port_of_grpc_is_for_grpc_alone() {
    let par = par().agent("echo").start().await;
    let plain = crate::harness::Client::new(par.grpc_port);
    let answer = plain.invoke("echo", &json!({})).await;
    answer.problem(415, "unsupported_media_type");
    assert_eq!(plain.get("/health").await.status, 415);
}

#[tokio::test]
async fn tls_is_there_where_it_is_configured() {
    let par = par().agent("echo").env("PAR_TLS", "self-signed").start().await;
    let certificate =
        std::fs::read_to_string(par.data_dir().join("tls/certificate.pem")).expect("its certificate");
    let target = format!("localhost:{}", par.grpc_port);
    for client in CLIENTS {
        let told = client.ask_at(&target, Some(&certificate), &[hello(INVOKE).to("echo")]).await;
        assert!(result(&told[0]).0, "{client:?}");
    }
}
