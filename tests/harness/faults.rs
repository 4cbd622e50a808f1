//! A proxy in front of any HTTP server: one request a connection, noted, passed on, and its answer spoiled by script.

use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use super::{Asked, Fault, Script, asked::Ending};

/// Runs until it is dropped.
pub(crate) struct Faults {
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    /// What was asked, and what goes wrong.
    pub(crate) script: Script,
    task: JoinHandle<()>,
}

impl Faults {
    /// Stands before the server at this port of 127.0.0.1.
    pub(crate) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let script = Script::default();
        let noted = script.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let script = noted.clone();
                connections.spawn(async move { serve(client, server, &script).await });
            }
        });
        Self { port, script, task }
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream, server: u16, script: &Script) -> Option<()> {
    let request = read_request(&mut client).await?;
    let (place, fault) = script.begin(Asked::parse(&String::from_utf8_lossy(&request)));
    let answer = match fault {
        Fault::Status(..) => vec![],
        Fault::Pass | Fault::Reset(_) | Fault::Stall(_) | Fault::Truncate(_) | Fault::Flip(_) => {
            ask(server, &request).await?
        }
    };
    let (answer, ending) = fault.spoil(answer);
    script.end(place, &answer);
    client.write_all(&answer).await.ok()?;
    client.flush().await.ok()?;
    end(&mut client, ending).await;
    Some(())
}

/// Ends a connection as it was told.
pub(crate) async fn end(client: &mut TcpStream, ending: Ending) {
    match ending {
        Ending::Close => {
            client.shutdown().await.ok();
        }
        // A reset throws away what was not read yet: the other side gets a moment to take it.
        Ending::Reset => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            set_socket_linger(&*client, Some(Duration::ZERO)).expect("an open socket");
        }
        Ending::Stall => std::future::pending().await,
    }
}

/// Head and body of a request, with a wish that the server closes after its answer.
async fn read_request(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let text = String::from_utf8(head).ok()?;
    let asked = Asked::parse(&text);
    let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let kept =
        text.trim_end().split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let mut request =
        format!("{}\r\nConnection: close\r\n\r\n", kept.collect::<Vec<_>>().join("\r\n")).into_bytes();
    let mut body = vec![0; length];
    client.read_exact(&mut body).await.ok()?;
    request.append(&mut body);
    Some(request)
}

async fn ask(server: u16, request: &[u8]) -> Option<Vec<u8>> {
    let mut upstream = TcpStream::connect(("127.0.0.1", server)).await.ok()?;
    upstream.write_all(request).await.ok()?;
    let mut answer = vec![];
    upstream.read_to_end(&mut answer).await.ok()?;
    Some(answer)
}
