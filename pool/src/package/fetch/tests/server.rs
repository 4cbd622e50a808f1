//! A server that misbehaves as told.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_rustls::TlsAcceptor;

/// What a server does with one connection.
#[derive(Clone)]
pub(crate) enum Act {
    /// Answers with these bytes and closes.
    Say(Vec<u8>),
    /// Answers with these bytes and resets the connection.
    Reset(String),
    /// Answers with these bytes and then nothing.
    Stall(String),
    /// Answers when it is told to.
    Wait(Arc<Notify>, Vec<u8>),
    /// Closes at once.
    Hang,
}

pub(crate) fn say(text: String) -> Act {
    Act::Say(text.into_bytes())
}

/// A whole answer.
pub(crate) fn whole(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub(crate) fn ok(body: &str) -> Act {
    Act::Say(whole(body.as_bytes()))
}

pub(crate) fn status(line: &str) -> Act {
    say(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"))
}

pub(crate) fn redirect(to: &str) -> Act {
    status(&format!("302 Found\r\nlocation: {to}"))
}

/// An answer that promises more than the body; it is cut by what is done with it.
pub(crate) fn promise(length: usize, more: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{more}\r\n{body}")
}

/// The part of `helloworld` from 5 on.
pub(crate) fn part(range: &str, tag: &str) -> Act {
    say(format!(
        "HTTP/1.1 206 Partial Content\r\ncontent-range: {range}\r\n\
         content-length: 5\r\netag: {tag}\r\n\r\nworld"
    ))
}

/// A server that plays its acts, one a connection, the last one for ever.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) port: u16,
    /// Heads of the requests, in lower case.
    asked: Arc<Mutex<Vec<String>>>,
    acts: Arc<Vec<Act>>,
}

impl Server {
    /// In clear text.
    pub(crate) async fn start(acts: Vec<Act>) -> Self {
        Self::with(acts, None).await
    }

    pub(crate) async fn with(acts: Vec<Act>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, asked: Arc::default(), acts: Arc::new(acts) };
        let playing = server.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (playing, tls) = (playing.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            let Ok(stream) = tls.accept(socket).await else { return };
                            playing.play(stream, |stream| stream.get_ref().0).await;
                        }
                        None => playing.play(socket, |socket| socket).await,
                    }
                });
            }
        });
        server
    }

    async fn play<S: AsyncRead + AsyncWrite + Unpin>(self, mut stream: S, socket: fn(&S) -> &TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let number = {
            let mut asked = self.asked.lock();
            asked.push(String::from_utf8(head).unwrap().to_lowercase());
            asked.len() - 1
        };
        let (said, then) = match self.acts[number.min(self.acts.len() - 1)].clone() {
            Act::Say(text) => (text, None),
            Act::Reset(text) => {
                drop(stream.write_all(text.as_bytes()).await);
                drop(stream.flush().await);
                socket(&stream).set_zero_linger().unwrap();
                return;
            }
            Act::Stall(text) => (text.into_bytes(), Some(())),
            Act::Wait(go, text) => {
                go.notified().await;
                (text, None)
            }
            Act::Hang => return,
        };
        drop(stream.write_all(&said).await);
        drop(stream.flush().await);
        if then.is_some() {
            std::future::pending::<()>().await;
        }
        drop(stream.shutdown().await);
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}
