//! What agents get of a form.

use super::*;
use crate::harness::Answered;

fn example() -> Form {
    Form::new()
        .part("input", Part::text(r#"{"big": 12345678901234567890, "title": "old"}"#))
        .text("title", "größe")
        .text("tag", "a")
        .text("tag", "b")
        .part("doc", file("%PDF-", "../a b.pdf", "application/pdf"))
        .part("pics", file(content(300_000), "1.png", "image/png"))
        .part("pics", file("", "zwei.jpeg", "image/jpeg"))
}

fn wanted() -> Value {
    json!({
        "big": 12_345_678_901_234_567_890_u64,
        "title": "größe",
        "tag": ["a", "b"],
        "doc": told("doc", "a b.pdf", "application/pdf", ".pdf", b"%PDF-"),
        "pics": [
            told("pics", "1.png", "image/png", ".png", &content(300_000)),
            told("pics", "zwei.jpeg", "image/jpeg", ".jpeg", b""),
        ],
    })
}

#[tokio::test]
async fn a_form_is_an_input_with_its_files_in_their_places() {
    let (_folder, par) = serving(&[]).await;
    for client in [par.http.clone(), Client::http2(par.port)] {
        for agent in ["keeper/tell", "keeper/atell"] {
            assert_eq!(sending(&client, agent, example()).answer().await.ok(), wanted(), "{agent}");
        }
        let path = "/runtime/agents/keeper%2Ftell/invoke";
        let form = example().text("session_id", "s-1").text("trace_id", "t-1").text("context", "{}");
        let answer = client.request(Method::POST, path).multipart(form).answer().await.ok();
        assert_eq!((&answer["output"], &answer["trace_id"]), (&wanted(), &json!("t-1")));
    }
    nothing_is_kept(&par).await;
}

#[tokio::test]
async fn forms_without_files_and_fields_without_a_chosen_file_are_inputs_too() {
    let (_folder, par) = serving(&[]).await;
    for (form, wanted) in [
        (Form::new().text("a", "1"), json!({"a": "1"})),
        (Form::new().part("input", Part::text("[1, 2.0]")), json!([1, 2.0])),
        (
            Form::new().part("input", Part::text("{}")).part("doc", file("", "", "application/octet-stream")),
            json!({}),
        ),
    ] {
        assert_eq!(sending(&par.http, "keeper/tell", form).answer().await.ok(), wanted);
    }
}

#[tokio::test]
async fn a_large_file_arrives_whole() {
    let (_folder, par) = serving(&[]).await;
    let large = content(50 << 20);
    let form = Form::new().part("doc", file(large.clone(), "large.bin", "application/octet-stream"));
    let answer = sending(&par.http, "keeper/atell", form).answer().await.ok();
    assert_eq!(answer["doc"], told("doc", "large.bin", "application/octet-stream", ".bin", &large));
    nothing_is_kept(&par).await;
}

#[tokio::test]
async fn a_schema_sees_of_a_file_what_is_known_of_it() {
    let (_folder, par) = serving(&[]).await;
    let send = async |doc| sending(&par.http, "keeper/only_pdf", Form::new().part("doc", doc)).answer().await;
    assert_eq!(send(file("12345", "a.pdf", "application/pdf")).await.ok(), json!(5));
    for (doc, place) in [
        (file("12345", "a.txt", "text/plain"), "/doc/content_type"),
        (file("12345678901", "a.pdf", "application/pdf"), "/doc/size"),
        (Part::text("12345"), "/doc"),
    ] {
        let problem = send(doc).await.problem(422, "input_invalid");
        assert_eq!(problem["errors"][0]["path"], place, "{problem}");
    }
    nothing_is_kept(&par).await;
}

#[tokio::test]
async fn a_sandboxed_worker_reads_its_files_and_can_do_nothing_else_with_them() {
    let (_folder, par) = serving(&[]).await;
    let attempt = async |code: &'static str| {
        let form = Form::new().part("doc", file("hello", "a.txt", "text/plain")).text("do", code);
        sending(&par.http, "keeper/attempt", form).answer().await.ok()
    };
    assert_eq!(attempt("open(doc).read()").await, json!({"reached": "'hello'"}));
    for code in [
        "open(doc, 'a')",
        "os.unlink(doc)",
        "os.listdir(os.path.dirname(doc.path))",
        "os.listdir(os.path.dirname(os.path.dirname(doc.path)))",
        "os.symlink('/etc', doc.path + '2')",
        "os.rename(doc, doc.path + '2')",
    ] {
        assert_eq!(attempt(code).await, json!({"errno": 13}), "{code}");
    }
}

#[tokio::test]
async fn another_package_cannot_read_a_file_whose_place_it_knows() {
    let (_folder, par) = serving(&[]).await;
    let form = Form::new().part("doc", file("hello", "a.txt", "text/plain")).text("gate", "never");
    let held = tokio::spawn(sending(&par.http, "keeper/hold", form).send());
    let line = par.wait_for_line("the path", |line| line.text().contains("holding ")).await;
    let path = line.text().rsplit("holding ").next().unwrap().split(['"', '\\']).next().unwrap().to_owned();
    let read = async |agent: &str| par.http.invoke(agent, &json!({"path": path})).await.ok();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "hello");
    assert_eq!(read("other/read").await, json!(13));
    held.abort();
}

#[tokio::test]
async fn curl_sends_files_and_takes_them() {
    let par = par().agent("files").start().await;
    let folder = scratch();
    std::fs::write(folder.path().join("notes.txt"), "one three eleven").unwrap();
    let curl = async |args: &[&str]| {
        let mut command = tokio::process::Command::new("curl");
        command.current_dir(folder.path()).args(["-sS", "--fail-with-body", "--noproxy", "*"]).args(args);
        let output = command.output().await.expect("curl");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let url = |agent: &str| format!("http://127.0.0.1:{}/agents/{agent}/invoke", par.port);
    let counted = curl(&["-F", "doc=@notes.txt", "-F", "min=4", &url("count")]).await;
    assert_eq!(serde_json::from_str::<Value>(&counted).unwrap(), json!({"name": "notes.txt", "words": 2}));
    curl(&["-F", "doc=@notes.txt", "-OJ", &url("shout")]).await;
    assert_eq!(std::fs::read_to_string(folder.path().join("LOUD notes.txt")).unwrap(), "ONE THREE ELEVEN");
}
