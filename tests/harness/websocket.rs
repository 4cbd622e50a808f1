//! WebSockets by hand (RFC 6455): what is sent is what the test says.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A frame of text.
pub(crate) const TEXT: u8 = 1;
/// A frame of bytes.
pub(crate) const BINARY: u8 = 2;
/// The last frame.
pub(crate) const CLOSE: u8 = 8;
/// Asks for a [`PONG`].
pub(crate) const PING: u8 = 9;
/// Answers a [`PING`].
pub(crate) const PONG: u8 = 10;

/// An open connection.
pub(crate) struct WebSocket {
    stream: TcpStream,
    /// The head of the answer to the handshake.
    pub(crate) head: String,
}

impl WebSocket {
    /// Opens one at `127.0.0.1:port`; `lines` are further lines of the head. The head of the answer, if it is refused.
    pub(crate) async fn open(port: u16, path: &str, lines: &str) -> Result<Self, String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("it is taken");
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            match timeout(PATIENCE, stream.read_u8()).await.expect("an answer in time") {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        if head.starts_with("HTTP/1.1 101") { Ok(Self { stream, head }) } else { Err(head) }
    }

    /// Sends a frame, masked as clients have to.
    pub(crate) async fn send(&mut self, kind: u8, content: &[u8]) {
        let mut frame = vec![0x80 | kind];
        match (u8::try_from(content.len()), u16::try_from(content.len())) {
            (Ok(length @ 0..126), _) => frame.push(0x80 | length),
            (_, Ok(length)) => {
                frame.push(0xfe);
                frame.extend_from_slice(&length.to_be_bytes());
            }
            (_, Err(_)) => {
                frame.push(0xff);
                frame.extend_from_slice(&(content.len() as u64).to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        frame.extend_from_slice(&mask);
        frame.extend(content.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&frame).await.expect("it is taken");
    }

    /// The next frame; `None` if the other side has closed the connection.
    pub(crate) async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        timeout(PATIENCE, self.read()).await.expect("a frame in time")
    }

    async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await.ok()?;
        let length = match self.stream.read_u8().await.ok()? {
            126 => u64::from(self.stream.read_u16().await.ok()?),
            127 => self.stream.read_u64().await.ok()?,
            length => u64::from(length),
        };
        let mut content = vec![0; usize::try_from(length).expect("it fits")];
        self.stream.read_exact(&mut content).await.ok()?;
        Some((first & 0x0f, content))
    }
}
