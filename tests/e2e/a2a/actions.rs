//! What comes of actions: names, failures, refusals, deadlines.

use serde_json::{Value, json};

use super::{INVOKE, action, result};
use crate::harness::{CLIENTS, GrpcClient, Package, Rpc, eventually, grpc::field, par, scratch};

const CODE: &str = "
import asyncio, datetime, time
def add(input):
    return float(input['a']) + float(input['b'])
def fails(input):
    raise ValueError('it went wrong: ' + input['why'])
def slow(input):
    time.sleep(float(input['seconds']))
    return 'done'
def checked(n):
    return {'n': n, 'when': datetime.date(2026, 1, 2)}
def octets(input):
    return b'\\xff\\x00'
def default(input):
    return {'default': input}
";

const MANIFEST: &str = "
entrypoint: main:default
exports:
  - {id: add, handler: main:add}
  - {id: fails, handler: main:fails}
  - {id: slow, handler: main:slow, timeout: 1s}
  - {id: octets, handler: main:octets}
  - {id: hidden, handler: main:add, private: true}
  - {id: checked, handler: main:checked, input_schema: {type: object, properties: {n: {type: string, maxLength: 2}}}}
";

fn package() -> Package {
    Package::new("sums", "1.0.0", MANIFEST).file("main.py", CODE)
}

#[tokio::test]
async fn actions_are_the_exports_of_the_package_and_its_entrypoint() {
    let scratch = scratch();
    let par = par().source(package().apkg(scratch.path())).start().await;
    let ask = |name: &str, parameters: &[(&str, &str)]| {
        Rpc::unary(INVOKE, action(name, parameters, "r")).to("sums")
    };
    let calls = [
        ask("add", &[("a", "1"), ("b", "2.5")]),
        ask("invoke", &[("x", "y")]),
        ask("default", &[]),
        ask("checked", &[("n", "7")]),
        ask("octets", &[]),
        ask("fails", &[("why", "ä")]),
        ask("nothing", &[]),
        ask("hidden", &[("a", "1"), ("b", "1")]),
        Rpc::unary(INVOKE, action("invoke", &[("a", "2"), ("b", "2")], "r")).to("sums/add"),
        Rpc::unary(INVOKE, field(4, "r")).to("sums"),
    ];
    for client in CLIENTS {
        let told: Vec<_> = client.ask(&par, &calls).await.iter().map(result).collect();
        let json = |at: usize| -> Value { serde_json::from_str(&told[at].1).expect("JSON") };
        assert!(told[..5].iter().all(|(success, _, _)| *success), "{told:?}");
        assert_eq!(
            [json(0), json(1), json(2), json(3)],
            [
                json!(3.5),
                json!({"default": {"x": "y"}}),
                json!({"default": {}}),
                json!({"n": {"n": "7"}, "when": "2026-01-02"})
            ]
        );
        assert_eq!(told[4].1, "/wA=", "bytes that are no text are base64");
        let told_of = |at: usize| (told[at].0, told[at].1.as_str());
        assert_eq!(told_of(5), (false, "it went wrong: ä"));
        assert_eq!(told_of(6), (false, "No handler found for action: nothing"));
        assert_eq!(told_of(7), (false, "No handler found for action: hidden"));
        assert_eq!(told_of(8), (true, "4.0"));
        assert_eq!(told_of(9), (false, "No action/skill specified in request"));
    }
}

#[tokio::test]
async fn what_the_runtime_refuses_is_a_status() {
    let scratch = scratch();
    let par =
        par().source(package().apkg(scratch.path())).allow("worker_stuck").allow("worker_died").start().await;
    par.operator().post_empty("/runtime/agents/add/enable").await.ok();
    let slow = || Rpc::unary(INVOKE, action("slow", &[("seconds", "5")], "r")).to("sums");
    let calls = [
        Rpc::unary(INVOKE, action("checked", &[("n", "too long")], "r")).to("sums"),
        Rpc::unary(INVOKE, action("add", &[("a", "1"), ("b", "1")], "r")).to("sums"),
        Rpc::unary(INVOKE, b"\x0a\x05ab".to_vec()).to("sums"),
        slow(),
        Rpc::unary("/pixell.agent.AgentService/Nothing", "").to("sums"),
        Rpc::unary("/no.Such/Method", "").to("sums"),
        slow().within(0.3),
    ];
    for client in CLIENTS {
        let told = client.ask(&par, &calls).await;
        told[0].refused(3);
        told[1].refused(14);
        told[2].refused(3);
        told[3].refused(4);
        assert!(told[3].seconds < 4.0, "the export has a second: {}", told[3].seconds);
        told[4].refused(12);
        told[5].refused(12);
        told[6].refused(4);
        assert!(told[6].seconds < 0.9, "the client has less: {}", told[6].seconds);
    }
}

#[tokio::test]
async fn messages_are_taken_up_to_sixteen_megabytes() {
    let par = par().agent("echo").start().await;
    let text = "x".repeat((16 << 20) - 64);
    let over = "x".repeat(16 << 20);
    let calls = [
        Rpc::unary(INVOKE, action("echo", &[("a", &text)], "r")).to("echo"),
        Rpc::unary(INVOKE, action("echo", &[("a", &over)], "r")).to("echo"),
    ];
    for client in CLIENTS {
        let told = client.ask(&par, &calls).await;
        assert!(result(&told[0]).1 == format!("{{\"a\":\"{text}\"}}"), "{client:?}: it is the same");
        assert_eq!(told[1].code, 3, "{}", told[1].details);
    }
}

#[tokio::test]
async fn actions_of_the_package_itself_come_first() {
    let par = par().agent("surfaces").start().await;
    let ask = |name: &str, parameters: &[(&str, &str)]| {
        Rpc::unary(INVOKE, action(name, parameters, "r")).to("surfaces")
    };
    let calls = [
        ask("echo", &[("a", "1")]),
        ask("text", &[("name", "Zoë")]),
        ask("plain", &[("b", ""), ("a", "")]),
        ask("fail", &[("message", "on purpose")]),
        ask("slow", &[("seconds", "20"), ("name", "late")]).within(0.5),
        ask("nothing", &[]),
        ask("invoke", &[("x", "1")]),
    ];
    let told = GrpcClient::Python.ask(&par, &calls).await;
    told[4].refused(4);
    let told_of = |at: usize| {
        let (success, text, _) = result(&told[at]);
        (success, text)
    };
    assert_eq!(told_of(0), (true, "{\"a\":\"1\"}".to_owned()));
    assert_eq!(told_of(1), (true, "Hello, Zoë".to_owned()));
    let plain: Value = serde_json::from_str(&told_of(2).1).expect("JSON");
    assert_eq!(plain, json!({"plain": true, "seen": ["a", "b"]}));
    assert_eq!(told_of(3), (false, "on purpose".to_owned()));
    eventually("an action learns that its caller has left", async || {
        let told = GrpcClient::Python.one(&par, ask("cancelled", &[])).await;
        (result(&told).1 == "[\"late\"]").then_some(())
    })
    .await;
    assert_eq!(told_of(5), (false, "No handler found for action: nothing".to_owned()));
    assert!(told_of(6).0, "the entrypoint is there as well: {:?}", told[6]);
}
