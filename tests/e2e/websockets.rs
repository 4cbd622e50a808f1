//! WebSockets of REST surfaces: a connection of both sides, from the handshake to the last frame.

use std::time::Duration;

use crate::harness::{
    WebSocket, eventually, par,
    websocket::{BINARY, CLOSE, PING, PONG, TEXT},
};

const PATH: &str = "/agents/surfaces/api/ws";

#[tokio::test]
async fn frames_go_both_ways_as_they_are() {
    let par = par().agent("surfaces").start().await;
    let mut socket =
        WebSocket::open(par.port, PATH, "Sec-WebSocket-Protocol: chat, other\r\n").await.expect("it opens");
    assert!(socket.head.to_lowercase().contains("sec-websocket-protocol: chat\r\n"), "{}", socket.head);
    assert!(socket.head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "the answer to our key: {}", socket.head);
    assert!(socket.head.to_lowercase().contains("x-request-id:"), "{}", socket.head);
    for (kind, content) in [
        (TEXT, "Grüße".as_bytes().to_vec()),
        (BINARY, vec![0, 255, 7]),
        (BINARY, vec![9; 200_000]),
        (TEXT, vec![]),
    ] {
        socket.send(kind, &content).await;
        assert!(socket.next().await == Some((kind, content)));
    }
    socket.send(PING, b"are you there").await;
    assert_eq!(socket.next().await, Some((PONG, b"are you there".to_vec())));
    socket.send(TEXT, b"close").await;
    let (kind, said) = socket.next().await.expect("a last frame");
    assert_eq!((kind, &said[..2], &said[2..]), (CLOSE, &4001_u16.to_be_bytes()[..], &b"as you wish"[..]));
    socket.send(CLOSE, &said).await;
    while socket.next().await.is_some() {}
}

#[tokio::test]
async fn nobody_has_to_speak_for_a_connection_to_stay() {
    let par = par()
        .agent("surfaces")
        .env("REQUEST_TIMEOUT_SECONDS", "1")
        .setting("limits.body_timeout", "1s")
        .setting("server.idle_timeout", "1s")
        .start()
        .await;
    let mut socket = WebSocket::open(par.port, PATH, "").await.expect("it opens");
    for word in ["before", "after"] {
        socket.send(TEXT, word.as_bytes()).await;
        assert_eq!(socket.next().await, Some((TEXT, word.as_bytes().to_vec())));
        tokio::time::sleep(Duration::from_millis(2500)).await;
    }
}

#[tokio::test]
async fn an_application_hears_when_the_other_side_is_gone() {
    let par = par().agent("surfaces").start().await;
    let mut socket = WebSocket::open(par.port, PATH, "").await.expect("it opens");
    socket.send(TEXT, b"here").await;
    socket.next().await.expect("an echo");
    drop(socket);
    eventually("the application knows", async || {
        let aborted = par.http.get("/agents/surfaces/api/aborted").await.ok();
        aborted.as_array()?.iter().any(|one| one == "ws").then_some(())
    })
    .await;
    let line = par.wait_for_line("its access line", |line| line["status"] == 101).await;
    assert_eq!(line["agent_id"], "surfaces@1.0.0");
}

#[tokio::test]
async fn where_no_socket_is_none_opens() {
    let par = par().agent("surfaces").agent("echo").start().await;
    for (path, status) in [
        ("/agents/surfaces/api/nowhere", "403"),
        ("/agents/echo/api/ws", "404"),
        ("/agents/nobody/api/ws", "404"),
    ] {
        let refused = WebSocket::open(par.port, path, "").await.err().expect("it is refused");
        assert!(refused.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {refused}");
    }
}
