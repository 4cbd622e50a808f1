//! Streams that a handler returns instead of being one: more than may wait anywhere comes whole, and no faster than it
//! is taken.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{EVENTS, LINES};
use crate::harness::{Answered, Package, Par, Streamed, par, scratch};

/// In each of these ways of handing something out item by item or piece by piece.
const CODE: &str = "
from pixell_runtime import File

class Counted:
    def __init__(self):
        self.made = 0

    def items(self, size):
        try:
            while True:
                yield 'x' * size
                self.made += 1
        finally:
            print(f'closed after {self.made}', flush=True)

    def pieces(self, size):
        for item in self.items(size):
            yield item.encode()

def items(to, size):
    return ({'n': n, 'text': 'x' * size} for n in range(to))

def pieces(to, size):
    return (bytes([n % 251]) * size for n in range(to))

def whole(to, size):
    return File(chunks=pieces(to, size), name='all.bin')

async def aitems(to, size):
    async def made():
        for n in range(to):
            yield {'n': n, 'text': 'x' * size}
    return made()

async def apieces(to, size):
    async def made():
        for n in range(to):
            yield bytes([n % 251]) * size
    return made()

async def awhole(to, size):
    return File(chunks=await apieces(to, size), name='all.bin')

def endless_items(*, size):
    return Counted().items(size)

def endless_pieces(*, size):
    return Counted().pieces(size)

async def aendless_items(*, size):
    return Counted().items(size)

async def aendless_pieces(*, size):
    return Counted().pieces(size)
";

async fn host() -> (TempDir, Par) {
    let folder = scratch();
    let names = ["items", "pieces", "whole", "aitems", "apieces", "awhole"];
    let endless = ["endless_items", "endless_pieces", "aendless_items", "aendless_pieces"];
    let all = names.iter().chain(&endless);
    let export = |name: &&str| format!("  - {{id: {name}, handler: 'main:{name}'}}\n");
    let exports = all.map(export).collect::<String>();
    let package = Package::new("returned", "1.0.0", &format!("exports:\n{exports}")).file("main.py", CODE);
    let par = par().source(package.directory(folder.path())).start().await;
    (folder, par)
}

fn asked(par: &Par, export: &str, accept: &str, input: &Value) -> RequestBuilder {
    let request = par.http.request(Method::POST, &format!("/agents/returned/{export}/invoke"));
    request.header("accept", accept).json(input)
}

/// Eight times what may wait in the gateway.
const TO: usize = 200;
const SIZE: usize = 10_000;

#[tokio::test]
async fn items_of_a_returned_generator_come_one_by_one_and_whole() {
    let (_folder, par) = host().await;
    let input = json!({"to": TO, "size": SIZE});
    for export in ["items", "aitems"] {
        let lines = Streamed::open(asked(&par, export, LINES, &input)).await.of_kind(LINES).items().await;
        let numbers: Vec<_> = lines.iter().map(|item| item["n"].as_u64()).collect();
        assert_eq!(numbers, (0..TO as u64).map(Some).collect::<Vec<_>>(), "{export}");
        assert!(lines.iter().all(|item| item["text"].as_str().map(str::len) == Some(SIZE)), "{export}");
        let events = Streamed::open(asked(&par, export, EVENTS, &input)).await.of_kind(EVENTS).events().await;
        let last = events.last().expect("events");
        assert_eq!((events.len(), &last.data), (TO + 1, &json!({"items": TO})), "{export}");
        assert_eq!(asked(&par, export, "*/*", &input).answer().await.ok(), json!(lines), "{export}");
    }
}

#[tokio::test]
async fn bytes_of_a_returned_generator_and_of_a_file_come_whole() {
    let (_folder, par) = host().await;
    let input = json!({"to": TO, "size": SIZE});
    let wanted: Vec<u8> = (0..TO).flat_map(|n| vec![(n % 251) as u8; SIZE]).collect();
    for export in ["pieces", "apieces", "whole", "awhole"] {
        let answer = asked(&par, export, "*/*", &input).answer().await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "application/octet-stream"),
            "{export}"
        );
        assert_eq!(answer.body.len(), wanted.len(), "{export}");
        assert!(answer.body == wanted, "{export}");
        let named = answer.header("content-disposition").contains("all.bin");
        assert_eq!(named, export.ends_with("whole"), "{export}");
    }
}

#[tokio::test]
async fn whoever_does_not_read_stops_what_was_returned() {
    for (export, accept) in [
        ("endless_items", LINES),
        ("aendless_items", LINES),
        ("endless_pieces", "*/*"),
        ("aendless_pieces", "*/*"),
    ] {
        let (_folder, par) = host().await;
        let answer = Streamed::open(asked(&par, export, accept, &json!({"size": SIZE}))).await;
        assert_eq!(answer.status, 200, "{export}");
        // What is asserted is how much was made for nobody: there is nothing to wait for.
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(answer);
        let fits =
            |line: &crate::harness::Line| line.event() == "agent_output" && line.mentions("closed after");
        let text = par.wait_for_line("the end", fits).await.text();
        let made = text.split("closed after ").nth(1).and_then(|rest| {
            rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse::<usize>().ok()
        });
        // The buffers of both sockets, of the client and of the stream.
        let made = made.expect("a number");
        assert!(made * SIZE < 24 << 20, "{export} made {made} items for nobody");
        par.wait_for_line("the access line", |line| line["code"] == "client_closed").await;
    }
}
