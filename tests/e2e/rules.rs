//! How a body becomes arguments, and how what a handler gives back becomes a body: one export of `agents/rules` each.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Answered, Package, Par, par, scratch};

async fn rules() -> Par {
    par().agent("rules").start().await
}

/// `id` below the package: some exports are called like other things.
async fn call(par: &Par, export: &str, input: Value) -> Answer {
    par.http.invoke(&format!("rules/{export}"), &input).await
}

#[tokio::test]
async fn one_parameter_gets_the_whole_input_and_more_get_keywords() {
    let par = rules().await;
    let ok = async |export: &str, input: Value| call(&par, export, input).await.ok();
    for input in [json!({"a": 1}), json!([1]), json!("x"), json!(null)] {
        assert_eq!(ok("one", input.clone()).await, json!({"input": input}));
    }
    assert_eq!(ok("dotted", json!(1)).await, json!({"input": 1}), "module.function is a handler too");
    assert_eq!(ok("keywords", json!({"first": 1})).await, json!({"first": 1, "second": 2}));
    assert_eq!(ok("keywords", json!({"second": 3, "first": 1})).await, json!({"first": 1, "second": 3}));
    assert_eq!(ok("keyword-only", json!({"name": "n"})).await, json!({"name": "n"}));
    assert_eq!(ok("var-keywords", json!({"a": 1, "b": 2})).await, json!({"everything": {"a": 1, "b": 2}}));
    assert_eq!(ok("nothing", json!({"whatever": 1})).await, json!("called"));
    assert_eq!(ok("only-context", json!({"a": 1})).await, json!({"received": {"a": 1}}));
}

#[tokio::test]
async fn arguments_that_do_not_bind_are_a_422_and_the_handler_is_not_called() {
    let par = rules().await;
    for (export, input) in [
        ("keywords", json!({})),
        ("keywords", json!({"first": 1, "unknown": 2})),
        ("keywords", json!([1, 2])),
        ("keyword-only", json!({"nome": "n"})),
        ("keyword-only", json!("n")),
        ("var-keywords", json!(5)),
    ] {
        let problem = call(&par, export, input.clone()).await.problem(422, "input_invalid");
        assert!(
            problem["errors"].as_array().is_some_and(|errors| !errors.is_empty()),
            "{export} {input}: {problem}"
        );
    }
}

#[tokio::test]
async fn the_context_says_who_calls_what_until_when() {
    let par = rules().await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = par.http.request(Method::POST, "/agents/rules/context/invoke");
    let request = request.header("x-request-id", "ask-1").header("traceparent", traceparent);
    let told = request.json(&json!({"input": 7})).answer().await.ok();
    assert_eq!(
        told["input"],
        json!({"input": 7}),
        "the context is not counted: one parameter gets the whole input"
    );
    assert_eq!(told["agent_id"], "rules@1.0.0/context");
    assert_eq!(told["version"], "1.0.0");
    assert_eq!(told["request_id"], "ask-1");
    assert_eq!(told["deadline"], true);
    assert!(
        told["traceparent"].as_str().is_some_and(|text| text.contains("0af7651916cd43dd8448eb211c80319c")),
        "{told}"
    );
}

#[tokio::test]
async fn functions_classes_objects_and_loops_of_their_own_are_handlers() {
    let par = rules().await;
    assert_eq!(call(&par, "invoke-class", json!({"name": "n"})).await.ok(), json!({"hello": "n"}));
    assert_eq!(call(&par, "callable-object", json!({"number": 14})).await.ok(), json!(42));
    assert_eq!(call(&par, "own-loop", json!(1)).await.ok(), json!({"looped": 1}));
}

#[tokio::test]
async fn generators_give_their_items_and_fail_as_a_whole() {
    let par = rules().await;
    for export in ["generator", "async-generator"] {
        let items = json!([{"number": 0}, {"number": 1}, {"number": 2}]);
        assert_eq!(call(&par, export, json!({"to": 3})).await.ok(), items, "{export}");
        assert_eq!(call(&par, export, json!({"to": 0})).await.ok(), json!([]), "{export}");
    }
    let problem = call(&par, "broken-generator", json!({})).await.problem(500, "agent_error");
    assert_eq!(problem["error"]["message"], "broke after one item");
}

#[tokio::test]
async fn results_are_converted_as_people_expect() {
    let par = rules().await;
    for (export, wanted) in [
        ("null", json!(null)),
        ("dataclass", json!({"number": 7, "due": "2026-01-02"})),
        ("enumeration", json!("red")),
        ("datetime", json!("2026-01-02T03:04:05+00:00")),
        ("date", json!("2026-01-02")),
        ("time", json!("03:04:05")),
        ("uuid", json!("12345678-1234-5678-1234-567812345678")),
        ("decimal", json!("1.10")),
        ("set", json!([1])),
        ("tuple", json!([1, "two"])),
        ("nested", json!({"deep": [{"set": [2], "when": "2026-01-02T03:04:05+00:00", "price": "0.10"}]})),
    ] {
        assert_eq!(call(&par, export, json!({})).await.ok(), wanted, "{export}");
    }
}

#[tokio::test]
async fn bytes_come_as_they_are() {
    let par = rules().await;
    let answer = call(&par, "bytes", json!({})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.body, [0, 1, 254, 255]);
}

#[tokio::test]
async fn pydantic_models_and_numpy_values_are_results() {
    let scratch = scratch();
    let code = "import pydantic\nclass Answer(pydantic.BaseModel):\n    number: int\n    words: list[str]\n\
                def run(input):\n    return {'model': Answer(number=1, words=['a'])}\n";
    let models = Package::with_main("models", "1.0.0", code).file("requirements.txt", "pydantic==2.11.7\n");
    let par = par().source(models.directory(scratch.path())).agent("pandas-stats").start().await;
    assert_eq!(
        par.http.invoke("models", &json!({})).await.ok(),
        json!({"model": {"number": 1, "words": ["a"]}})
    );
    let told = par.http.invoke("describe", &json!({"values": [3, 1, 2]})).await.ok();
    assert_eq!(told, json!({"count": 3, "mean": 2.0, "max": 3.0, "sorted": [1.0, 2.0, 3.0]}));
    assert_eq!(par.http.invoke("ranks", &json!({"values": [9, 5]})).await.ok(), json!([2.0, 1.0]));
}
