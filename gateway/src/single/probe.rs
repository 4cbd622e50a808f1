//! Whether a surface answers: one question each, with an end.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use par_pool::process::Primary;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

/// Longest wait for an answer. An application that needs longer for a `HEAD` does not serve anybody.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a surface counts as silent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// The process that would answer is not there.
    #[error("the process of the surfaces is not there")]
    Gone,
    /// It said nothing in time.
    #[error("it did not answer within {0:?}")]
    Slow(Duration),
    /// The connection failed.
    #[error("it cannot be asked: {0}")]
    Broken(#[source] io::Error),
    /// What came was no HTTP.
    #[error("what it answered is not HTTP")]
    NotHttp,
    /// It spoke, and does not serve.
    #[error("it says that it does not serve{0}")]
    NotServing(String),
}

/// Any answer of the REST application counts: that it has nothing at `/` is an answer.
pub(super) async fn rest(primary: &Primary) -> Result<(), Unanswered> {
    const QUESTION: &[u8] =
        b"HEAD / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: par-health\r\nConnection: close\r\n\r\n";
    in_time(async {
        let stream = primary.connect_rest().map_err(Unanswered::Broken)?;
        let mut stream = UnixStream::from_std(stream).map_err(Unanswered::Broken)?;
        stream.write_all(QUESTION).await.map_err(Unanswered::Broken)?;
        let mut head = [0; 7];
        stream.read_exact(&mut head).await.map_err(Unanswered::Broken)?;
        if &head == b"HTTP/1." { Ok(()) } else { Err(Unanswered::NotHttp) }
    })
    .await
}

/// Whether anybody listens.
pub(super) async fn accepts(address: SocketAddr) -> Result<(), Unanswered> {
    in_time(async { TcpStream::connect(reachable(address)).await.map(drop).map_err(Unanswered::Broken) })
        .await
}

/// The health call of gRPC (grpc.health.v1), over HTTP/2 without TLS.
pub(super) async fn grpc(address: SocketAddr, service: &str) -> Result<(), Unanswered> {
    let address = reachable(address);
    in_time(async {
        let stream = TcpStream::connect(address).await.map_err(Unanswered::Broken)?;
        let broken = |error: hyper::Error| Unanswered::Broken(io::Error::other(error));
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(broken)?;
        // It ends with the connection, and that with the sender.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{address}/grpc.health.v1.Health/Check"))
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"))
            .header(header::TE, HeaderValue::from_static("trailers"))
            .body(Full::new(check(service)))
            .map_err(|error| Unanswered::Broken(io::Error::other(error)))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let refused = response.headers().get("grpc-status").cloned();
        let body = response.into_body().collect().await.map_err(broken)?.to_bytes();
        match (refused, body.as_ref()) {
            // The prefix of five bytes, then field 1: SERVING.
            (None, [0, 0, 0, 0, 2, 8, 1]) => Ok(()),
            (Some(status), _) => {
                let status = status.to_str().unwrap_or_default();
                Err(Unanswered::NotServing(format!(" (status {status})")))
            }
            (None, _) => Err(Unanswered::NotServing(String::new())),
        }
    })
    .await
}

/// A `HealthCheckRequest` as one message: the prefix of gRPC, then field 1. Names of services are shorter than 128
/// bytes; a longer one would need a longer length, and asks for the whole instead.
fn check(service: &str) -> Bytes {
    let name = if service.len() < 0x80 { service.as_bytes() } else { b"" };
    let length = name.len() as u8;
    let mut message = vec![0, 0, 0, 0, length + 2, 0x0a, length];
    message.extend_from_slice(name);
    message.into()
}

/// Where an address that stands for all of this machine is reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let here = if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
    SocketAddr::new(here, address.port())
}

async fn in_time(asking: impl Future<Output = Result<(), Unanswered>>) -> Result<(), Unanswered> {
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or(Err(Unanswered::Slow(PATIENCE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_one_message_with_the_name_of_the_service() {
        assert_eq!(check("a.B").as_ref(), b"\0\0\0\0\x05\x0a\x03a.B");
        assert_eq!(check(&"x".repeat(200)).as_ref(), b"\0\0\0\0\x02\x0a\0");
    }

    #[test]
    fn what_listens_everywhere_is_asked_on_loopback() {
        for (address, wanted) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            assert_eq!(reachable(address.parse().unwrap()).to_string(), wanted);
        }
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_does_not_accept() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        accepts(address).await.unwrap();
        drop(listener);
        assert!(matches!(accepts(address).await, Err(Unanswered::Broken(_))));
        assert!(matches!(grpc(address, "x").await, Err(Unanswered::Broken(_))));
    }
}
