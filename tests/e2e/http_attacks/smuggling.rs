//! Requests behind requests: whatever two parsers could read in two ways ends the connection.

use std::time::Duration;

use super::{CALL, PATIENCE, SMUGGLED, Target};
use crate::harness::{
    Package, RawConnection, eventually,
    http2::{END_HEADERS, END_STREAM, HEADERS, frame, post, preface},
    par, scratch, status_of,
};

#[tokio::test]
async fn what_is_smuggled_behind_a_request_is_never_served() {
    let target = Target::start(&[]).await;
    let chunked = "Transfer-Encoding: chunked\r\n";
    let length = SMUGGLED.len();
    for (name, head, body) in [
        ("CL.TE", format!("Content-Length: {}\r\n{chunked}", length + 5), "0\r\n\r\n"),
        ("TE.CL", format!("{chunked}Content-Length: 4\r\n"), "0\r\n\r\n"),
        ("TE.TE twice", format!("{chunked}{chunked}"), "0\r\n\r\n"),
        ("TE.TE identity", format!("{chunked}Transfer-Encoding: identity\r\n"), "0\r\n\r\n"),
        ("TE.TE identity first", format!("Transfer-Encoding: identity\r\n{chunked}"), "0\r\n\r\n"),
        ("TE misspelt", "Transfer-Encoding: xchunked\r\n".to_owned(), "0\r\n\r\n"),
        ("TE quoted", "Transfer-Encoding: \"chunked\"\r\n".to_owned(), "0\r\n\r\n"),
        ("TE list", "Transfer-Encoding: chunked, identity\r\n".to_owned(), "0\r\n\r\n"),
        ("TE gzip", "Transfer-Encoding: gzip, chunked\r\n".to_owned(), "0\r\n\r\n"),
        ("TE with a space before the colon", "Transfer-Encoding : chunked\r\n".to_owned(), "0\r\n\r\n"),
        ("TE with a vertical tab", "Transfer-Encoding: \x0bchunked\r\n".to_owned(), "0\r\n\r\n"),
        ("TE folded", "Transfer-Encoding:\r\n chunked\r\n".to_owned(), "0\r\n\r\n"),
        ("TE beside a hidden CL", format!("X: y\r\ncontent-length: 4\r\n{chunked}"), "0\r\n\r\n"),
        ("CL.CL", format!("Content-Length: 2\r\nContent-Length: {}\r\n", length + 2), "{}"),
        ("CL.CL equal", "Content-Length: 2\r\nContent-Length: 2\r\n".to_owned(), "{}"),
        ("CL list", "Content-Length: 2, 2\r\n".to_owned(), "{}"),
        ("CL with a sign", "Content-Length: +2\r\n".to_owned(), "{}"),
        ("CL negative", "Content-Length: -2\r\n".to_owned(), "{}"),
        ("CL hexadecimal", "Content-Length: 0x2\r\n".to_owned(), "{}"),
        ("CL beyond numbers", "Content-Length: 18446744073709551618\r\n".to_owned(), "{}"),
        ("CL empty", "Content-Length:\r\n".to_owned(), "{}"),
        ("CL folded", "Content-Length: 2\r\n 3\r\n".to_owned(), "{}"),
        ("obs-fold", "X: a\r\n b\r\nContent-Length: 2\r\n".to_owned(), "{}"),
        ("obs-fold with a tab", "X: a\r\n\tContent-Length: 0\r\nContent-Length: 2\r\n".to_owned(), "{}"),
        ("bare LF in a head", "X: a\nContent-Length: 2\r\n".to_owned(), "{}"),
        ("bare LF before its end", "Content-Length: 2\n".to_owned(), "{}"),
        ("bare CR", "X: a\rContent-Length: 9\r\nContent-Length: 2\r\n".to_owned(), "{}"),
        ("NUL in a value", "X: a\0b\r\nContent-Length: 2\r\n".to_owned(), "{}"),
        ("NUL in a name", "X\0: b\r\nContent-Length: 2\r\n".to_owned(), "{}"),
        ("no colon", "X\r\nContent-Length: 2\r\n".to_owned(), "{}"),
        ("no name", ": b\r\nContent-Length: 2\r\n".to_owned(), "{}"),
        ("two Hosts", "Host: y\r\nContent-Length: 2\r\n".to_owned(), "{}"),
        ("two equal Hosts", "Host: x\r\nContent-Length: 2\r\n".to_owned(), "{}"),
    ] {
        target.refused(name, format!("{CALL}{head}\r\n{body}{SMUGGLED}").as_bytes(), &[400]).await;
    }
    for (name, first) in [
        ("no Host", "POST /agents/echo/invoke HTTP/1.1\r\n"),
        ("a Host that is none", "POST /agents/echo/invoke HTTP/1.1\r\nHost: x/y\r\n"),
        ("another Host than the target's", "POST http://y/agents/echo/invoke HTTP/1.1\r\nHost: x\r\n"),
        ("a user in the target", "POST http://x@y/agents/echo/invoke HTTP/1.1\r\nHost: x@y\r\n"),
        ("a target of another scheme", "POST ftp://x/agents/echo/invoke HTTP/1.1\r\nHost: x\r\n"),
        ("bare LF behind the request line", "POST /agents/echo/invoke HTTP/1.1\nHost: x\r\n"),
        ("HTTP/1.2", "POST /agents/echo/invoke HTTP/1.2\r\nHost: x\r\n"),
        ("no version", "POST /agents/echo/invoke\r\nHost: x\r\n"),
        ("TE in HTTP/1.0", "POST /agents/echo/invoke HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"),
    ] {
        let body = if first.contains("chunked") { "0\r\n\r\n" } else { "{}" };
        let length = if first.contains("chunked") { "" } else { "Content-Length: 2\r\n" };
        target.refused(name, format!("{first}{length}\r\n{body}{SMUGGLED}").as_bytes(), &[400]).await;
    }
    for (name, first) in [
        ("CONNECT", "CONNECT x:80 HTTP/1.1\r\nHost: x:80"),
        ("TRACE", "TRACE /agents/echo/invoke HTTP/1.1\r\nHost: x"),
    ] {
        target.refused(name, format!("{first}\r\n\r\n{SMUGGLED}").as_bytes(), &[405]).await;
    }
    target.nobody_was_called().await;
}

#[tokio::test]
async fn chunks_that_are_none_end_the_connection() {
    let target = Target::start(&[]).await;
    let long = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(300_000));
    let trailers = format!("2\r\n{{}}\r\n0\r\n{}\r\n", "X-Trailer: y\r\n".repeat(20_000));
    for (name, body) in [
        ("a size that is no number", "zz\r\n{}\r\n0\r\n\r\n"),
        ("a size with a prefix", "0x2\r\n{}\r\n0\r\n\r\n"),
        ("a size with a sign", "-2\r\n{}\r\n0\r\n\r\n"),
        ("a size beyond numbers", "fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
        ("content longer than its size", "2\r\n{}x\r\n0\r\n\r\n"),
        ("content without its end", "2\r\n{}0\r\n\r\n"),
        ("an extension without end", &long),
        ("trailers without end", &trailers),
    ] {
        let bytes = format!("{CALL}Transfer-Encoding: chunked\r\n\r\n{body}{SMUGGLED}");
        target.refused(name, bytes.as_bytes(), &[400, 413]).await;
    }
    let told = target
        .answered(
            "an honest extension and an honest trailer",
            format!("{CALL}Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n12\r\n0\r\nX-Trailer: y\r\n\r\n")
                .as_bytes(),
            &[200],
        )
        .await;
    assert!(told.ends_with("12"), "{told}");
    target.nobody_was_called().await;
}

#[tokio::test]
async fn nothing_changes_the_protocol_of_a_connection() {
    let target = Target::start(&[]).await;
    let upgrade =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
    for (name, head) in [
        ("towards the management side", "GET /health HTTP/1.1\r\nHost: x\r\n"),
        ("towards an agent", &format!("{CALL}Content-Length: 0\r\n")),
    ] {
        let mut connection = target.send(format!("{head}{upgrade}\r\n").as_bytes()).await;
        let told = connection.read(PATIENCE).await;
        assert_eq!(status_of(&told), 200, "{name}: {told}");
        assert!(!told.to_lowercase().contains("\r\nupgrade:"), "{name}: {told}");
        let smuggled =
            [preface(), frame(HEADERS, END_HEADERS | END_STREAM, 1, &post("/agents/witness/invoke"))];
        connection.send(smuggled.concat()).await;
        let told = connection.read_to_close(PATIENCE).await.expect("it is closed");
        assert_eq!(status_of(&told), 400, "{name}: {told}");
        target.answers(name).await;
    }
    let mut neither = target.send(b"PRI * HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(neither.closed_within(PATIENCE).await, "what begins as HTTP/2 does must go on so");
    target.nobody_was_called().await;
}

/// Says what it is asked for, and by whom. It opens no WebSocket.
const APPLICATION: &str = r#"
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    print("asked for", scope["path"], flush=True)
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
    await send({"type": "http.response.body", "body": b"inside"})
"#;

/// Whoever asks for another protocol and is not given it goes on speaking HTTP to us, not to what is behind us: there
/// nobody would take away what it claims.
#[tokio::test]
async fn what_follows_an_upgrade_that_does_not_happen_reaches_no_application() {
    let packages = scratch();
    let web = Package::new("web", "1.0.0", "http_server: web:app").file("web.py", APPLICATION);
    let par = par().production().source(web.apkg(packages.path())).start().await;
    let asked = |path: &str| {
        let words = format!("asked for {path}");
        par.lines().iter().filter(|line| line.mentions(&words)).count()
    };
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\nX-PAR-Subject: admin\r\n\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let upgrades = [
        ("h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n".to_owned()),
        ("h2c with a body", "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n".to_owned()),
        ("another protocol", "Connection: Upgrade\r\nUpgrade: telnet\r\n".to_owned()),
        ("a WebSocket that is closed", format!("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{key}")),
        ("a WebSocket of no version", format!("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 7\r\n{key}")),
        ("a WebSocket without a key", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n".to_owned()),
        ("nothing that it names", "Connection: Upgrade\r\n".to_owned()),
    ];
    for (name, upgrade) in &upgrades {
        let first = format!("GET /agents/web/first HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n");
        let mut at_once = RawConnection::open(par.port).await;
        at_once.send(format!("{first}{hidden}")).await;
        let told = at_once.read(PATIENCE).await;
        assert!(status_of(&told) != 101 && status_of(&told) != 0, "{name}: {told}");
        at_once.send(hidden).await;
        let told = at_once.read(Duration::from_millis(300)).await;
        assert!(!told.contains("inside"), "{name}: {told}");
    }
    let honest = par.http.get("/agents/web/last").await;
    assert_eq!(honest.text(), "inside");
    eventually("it says so", async || (asked("/agents/web/last") > 0).then_some(())).await;
    assert!(asked("/agents/web/first") > 0, "{}", par.everything_said());
    assert_eq!(asked("/hidden"), 0, "{}", par.everything_said());
}
