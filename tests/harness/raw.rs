//! HTTP/1.1 by hand, for requests that no well-behaved client sends.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// One connection.
pub(crate) struct RawConnection {
    stream: TcpStream,
}

impl RawConnection {
    /// Connects to `127.0.0.1:port`.
    pub(crate) async fn open(port: u16) -> Self {
        Self { stream: TcpStream::connect(("127.0.0.1", port)).await.expect("a connection") }
    }

    /// Connects from one of the addresses of this machine, like `127.0.0.2`.
    pub(crate) async fn open_from(source: &str, port: u16) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(source.parse().expect("an address"), 0)).expect("a free port");
        let place = SocketAddr::from(([127, 0, 0, 1], port));
        Self { stream: socket.connect(place).await.expect("a connection") }
    }

    /// Sends bytes; false if the other side has closed.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// All that comes until the other side closes, falls silent for `silence`, or has sent a whole answer with a length.
    pub(crate) async fn read(&mut self, silence: Duration) -> String {
        let mut all = vec![];
        let mut chunk = [0; 8192];
        while let Ok(Ok(read @ 1..)) = timeout(silence, self.stream.read(&mut chunk)).await {
            all.extend_from_slice(&chunk[..read]);
            if complete(&all) {
                break;
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// All that comes until the other side closes; `None` if it does not within `patience`.
    pub(crate) async fn read_to_close(&mut self, patience: Duration) -> Option<String> {
        let mut all = vec![];
        let mut chunk = [0; 8192];
        let end = async {
            while let Ok(read @ 1..) = self.stream.read(&mut chunk).await {
                all.extend_from_slice(&chunk[..read]);
            }
        };
        let closed = timeout(patience, end).await.is_ok();
        closed.then(|| String::from_utf8_lossy(&all).into_owned())
    }

    /// Whether the other side closes within `patience` in good order: all that it sent can be read, also by clients
    /// whose system forgets it when a connection is reset.
    pub(crate) async fn closed_in_order(&mut self, patience: Duration) -> bool {
        let mut chunk = [0; 8192];
        let end = async {
            loop {
                match self.stream.read(&mut chunk).await {
                    Ok(0) => break true,
                    Ok(_) => {}
                    Err(_) => break false,
                }
            }
        };
        timeout(patience, end).await.unwrap_or(false)
    }

    /// Whether the other side closes within `patience`, whatever it sends before.
    pub(crate) async fn closed_within(&mut self, patience: Duration) -> bool {
        let mut chunk = [0; 8192];
        let end = async { while let Ok(1..) = self.stream.read(&mut chunk).await {} };
        timeout(patience, end).await.is_ok()
    }
}

fn complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_lowercase();
    let Some(head) = text.find("\r\n\r\n") else { return false };
    let length = text[..head].split("content-length:").nth(1).and_then(|rest| rest.lines().next());
    length
        .and_then(|length| length.trim().parse().ok())
        .is_some_and(|length: usize| answer.len() >= head + 4 + length)
}

/// Status of an answer that was read by hand; 0 if there is none.
pub(crate) fn status_of(answer: &str) -> u16 {
    answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0)
}
