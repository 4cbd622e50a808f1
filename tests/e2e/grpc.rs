//! A package's own gRPC services, passed on as they are: every kind of method, metadata, statuses with details,
//! deadlines, leaving, large messages; called by grpcio and grpc-js.

use http::Response;
use http_body_util::BodyExt as _;
use reqwest::Method;
use rustix::process::Signal;

use serde_json::json;

use crate::harness::{
    CLIENTS, Client, GrpcClient, IdentityProvider, Package, Par, Rpc, Told, agent, eventually,
    grpc::{field, fields, number, text_of},
    par,
    process::Process,
    scratch,
};

const OWN: &str = "/example.own.Own";

fn own(method: &str) -> String {
    format!("{OWN}/{method}")
}

fn text(text: &str) -> Vec<u8> {
    field(1, text)
}

async fn started() -> Par {
    par().agent("grpc-own").start().await
}

fn texts(told: &Told) -> Vec<String> {
    told.responses.iter().map(|response| text_of(response, 1)).collect()
}

#[tokio::test]
async fn every_kind_of_method_is_passed_on_by_either_name() {
    let par = started().await;
    let below = |method: &str| format!("/agents/grpc-own/a2a{OWN}/{method}");
    let numbers = || (1..=4).map(|value| number(1, value)).collect::<Vec<_>>();
    let calls = [
        Rpc::unary(&own("Say"), text("ä")).to("grpc-own"),
        Rpc::unary(&below("Say"), text("b")),
        Rpc::server(&own("Count"), number(1, 3)).to("grpc-own@1.0.0"),
        Rpc::client(&below("Sum"), numbers()),
        Rpc::bidi(&below("Chat"), vec![text("one"), text("two"), text("three")]).pausing(0.3),
        Rpc::server(&own("Count"), number(1, 0)).to("grpc-own"),
        Rpc::unary(&own("Nothing"), "").to("grpc-own"),
    ];
    for client in CLIENTS {
        let told = client.ask(&par, &calls).await;
        assert_eq!(text_of(told[0].ok(), 1), "You said: ä");
        assert_eq!(text_of(told[1].ok(), 1), "You said: b");
        // Zero is left out of a message.
        assert_eq!((told[2].code, texts(&told[2])), (0, vec![String::new(), "1".into(), "2".into()]));
        assert_eq!(text_of(told[3].ok(), 1), "10");
        assert_eq!((told[4].code, texts(&told[4])), (0, vec!["ONE".into(), "TWO".into(), "THREE".into()]));
        let times = &told[4].times;
        assert!(times[2] - times[0] > 0.4, "each answer comes when its question has come: {times:?}");
        assert_eq!((told[5].code, told[5].responses.len()), (0, 0));
        told[6].refused(12);
    }
    let main = format!("127.0.0.1:{}", par.port);
    let told = GrpcClient::Python.ask_at(&main, None, &calls[3..5]).await;
    assert_eq!(text_of(told[0].ok(), 1), "10", "the main port as well");
    assert_eq!(texts(&told[1]).len(), 3);
}

#[tokio::test]
async fn metadata_go_both_ways_and_what_is_ours_does_not() {
    let par = started().await;
    let call = Rpc::unary(&own("Ask"), "")
        .to("grpc-own")
        .with("x-mine", "1")
        .with("x-mine", "2")
        .with("x-mine-bin", "AP8=")
        .with("x-par-role", "operator")
        .with("x-par-caller", "{}")
        .with("authorization", "Bearer mine")
        .within(20.0);
    for client in CLIENTS {
        let told = client.one(&par, call.clone()).await;
        let surroundings = fields(told.ok());
        let entries = surroundings.iter().filter(|(number, _)| *number == 1);
        let seen: Vec<(String, Vec<u8>)> = entries
            .map(|(_, entry)| {
                let value = fields(entry).into_iter().find(|(number, _)| *number == 2);
                (text_of(entry, 1), value.map(|(_, value)| value).unwrap_or_default())
            })
            .collect();
        let values = |name: &str| -> Vec<&[u8]> {
            seen.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_slice()).collect()
        };
        assert_eq!(values("x-mine").join(&b", "[..]), b"1, 2", "{seen:?}");
        assert_eq!(values("x-mine-bin"), [[0, 0xff]]);
        for name in ["x-par-role", "x-par-caller", "authorization"] {
            assert!(values(name).is_empty(), "{name}: {seen:?}");
        }
        assert_eq!(values("x-request-id").len(), 1);
        assert_eq!(told.header("x-initial"), Some("first"));
        assert_eq!((told.header("x-trailing"), told.header("x-trailing-bin")), (Some("last"), Some("AP8=")));
    }
}

#[tokio::test]
async fn statuses_keep_their_details() {
    let par = started().await;
    let failure = [number(1, 9), field(2, "not ‰ now"), field(3, "why")].concat();
    for client in CLIENTS {
        let told = client.one(&par, Rpc::unary(&own("Fail"), failure.clone()).to("grpc-own")).await;
        assert_eq!(told.refused(9), "not ‰ now");
        let details = told.header("grpc-status-details-bin").expect("its details");
        assert!(details.len() > 40, "{details}");
    }
    let line = par.wait_for_line("its line", |line| line.value()["details"]["grpc_status"] == 9).await;
    assert_eq!(
        (&line.value()["status"], &line.value()["code"]),
        (&200.into(), &"ok".into()),
        "it did answer"
    );
}

#[tokio::test]
async fn a_deadline_is_the_packages_as_well_and_there_is_none_unless_the_client_has_one() {
    let par = par().agent("grpc-own").env("REQUEST_TIMEOUT_SECONDS", "1").start().await;
    for client in CLIENTS {
        let calls = [
            Rpc::server(&own("Hold"), text("short")).to("grpc-own").within(1.5),
            Rpc::bidi(&own("Chat"), vec![text("a"), text("b")]).to("grpc-own").pausing(2.0),
        ];
        let told = client.ask(&par, &calls).await;
        assert_eq!((told[0].code, told[0].responses.len()), (4, 1), "{client:?} {:?}", told[0]);
        assert_eq!((told[1].code, told[1].responses.len()), (0, 2), "{client:?} {:?}", told[1]);
    }
}

#[tokio::test]
async fn a_package_learns_that_its_caller_has_left() {
    let par = started().await;
    for client in CLIENTS {
        let name = format!("{client:?}");
        let told = client.one(&par, Rpc::server(&own("Hold"), text(&name)).to("grpc-own").taking(1)).await;
        assert_eq!((told.code, told.responses.len()), (1, 1), "{told:?}");
        eventually("it was left", async || {
            let told = client.one(&par, Rpc::unary(&own("Left"), text(&name)).to("grpc-own")).await;
            (text_of(told.ok(), 1) == "1").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn messages_of_sixteen_megabytes_pass_both_ways() {
    let par = started().await;
    let data: Vec<u8> =
        (0..(16 << 20) - 16).map(|place: usize| place.to_le_bytes()[0] ^ place.to_le_bytes()[2]).collect();
    let call = Rpc::unary(&own("Reflect"), field(1, &data)).to("grpc-own");
    for client in CLIENTS {
        let told = client.one(&par, call.clone()).await;
        assert!(told.ok() == field(1, &data), "{client:?}: the same bytes");
    }
}

#[tokio::test]
async fn health_and_reflection_know_the_services_of_the_package() {
    let par = started().await;
    let target = format!("127.0.0.1:{}", par.grpc_port);
    let check = Rpc::unary("/grpc.health.v1.Health/Check", field(1, "example.own.Own")).to("grpc-own");
    assert_eq!(text_of(GrpcClient::Python.one(&par, check).await.ok(), 1), "1");
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let questions = vec![field(7, ""), field(4, "example.own.Own.Chat"), field(3, "own.proto")];
        let told =
            GrpcClient::Node.ask_at(&target, None, &[Rpc::bidi(&path, questions).to("grpc-own")]).await;
        assert_eq!((told[0].code, told[0].responses.len()), (0, 3), "{:?}", told[0]);
        let list = fields(&told[0].responses[0]).pop().expect("the list").1;
        let names: Vec<String> = fields(&list).iter().map(|(_, service)| text_of(service, 1)).collect();
        assert!(names.contains(&"example.own.Own".to_owned()) && names.len() == 5, "{names:?}");
        for answer in &told[0].responses[1..] {
            let (kind, files) = fields(answer).pop().expect("files");
            assert_eq!((kind, text_of(&fields(&files)[0].1, 1).as_str()), (4, "own.proto"));
        }
    }
}

#[tokio::test]
async fn a_package_whose_process_dies_is_unavailable_and_comes_back() {
    let par = started().await;
    par.allow("primary_died");
    let ask = GrpcClient::Python.one(&par, Rpc::unary(&own("Ask"), "").to("grpc-own")).await;
    let pid = text_of(ask.ok(), 3).parse().expect("a process id");
    let request = Client::http2(par.grpc_port).request(Method::POST, &own("Hold"));
    let message = text("x");
    let framed = [&[0, 0, 0, 0, u8::try_from(message.len()).expect("short")], message.as_slice()].concat();
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    let answer = request.header("x-agent-id", "grpc-own").body(framed).send().await.expect("it holds");
    let mut body = Response::from(answer).into_body();
    let first = body.frame().await.expect("a frame").expect("no fault");
    assert!(first.is_data(), "{first:?}");
    Process::running(pid).expect("the process").signal(Signal::KILL);
    let last = body.frame().await.expect("one more").expect("no fault").into_trailers().expect("the end");
    assert_eq!(last["grpc-status"], "14", "{last:?}");
    eventually("it is back", async || {
        let told = GrpcClient::Python.one(&par, Rpc::unary(&own("Say"), text("a")).to("grpc-own")).await;
        assert!(matches!(told.code, 0 | 14), "{told:?}");
        (told.code == 0).then_some(())
    })
    .await;
}

/// The package of these tests under another name, with more in its manifest.
fn changed(name: &str, more: &str) -> Package {
    let folder = agent("grpc-own");
    let read = |file: &str| std::fs::read(folder.join(file)).expect("a file of the package");
    let manifest = String::from_utf8(read("agent.yaml")).expect("text").replace("grpc-own", name);
    let files = ["own.proto", "own_pb2.py", "own_pb2_grpc.py", "requirements.txt", "server.py"];
    let package = Package::bare(name, "1.0.0").file("agent.yaml", format!("{manifest}{more}"));
    files.into_iter().fold(package, |package, file| package.file(file, read(file)))
}

#[tokio::test]
async fn roles_and_rates_count_for_a_packages_own_services_as_for_calls() {
    let (issuer, scratch) = (IdentityProvider::start().await, scratch());
    issuer.knows("clerk", json!({"roles": ["billing"], "tenant": "acme"})).await;
    issuer.knows("guest", json!({"tenant": "other"})).await;
    let locked = changed("locked", "role_required: billing\n").apkg(scratch.path());
    let par =
        issuer.believed_by(par()).source(locked).setting("limits.tenant_rate", "2/h burst 2").start().await;
    let (clerk, guest) = (issuer.token("clerk").await, issuer.token("guest").await);
    let say = || Rpc::unary(&own("Say"), text("a")).to("locked");
    let told = GrpcClient::Python
        .ask(
            &par,
            &[
                say(),
                say().bearing(&guest),
                say().bearing(&clerk),
                say().bearing(&clerk),
                say().bearing(&clerk),
            ],
        )
        .await;
    told[0].refused(16);
    told[1].refused(7);
    for told in &told[2..4] {
        assert_eq!(text_of(told.ok(), 1), "You said: a");
    }
    told[4].refused(8);
}
