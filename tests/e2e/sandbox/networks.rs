//! Connecting and listening, as the manifest says.

use std::net::{TcpListener, UdpSocket};

use super::{EACCES, EPERM, probe, reached, refused, serving};
use crate::harness::scratch;

#[tokio::test]
async fn a_package_connects_where_its_manifest_says() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = |address: std::io::Result<std::net::SocketAddr>| address.expect("it is bound").port();
    let (listed, unlisted, datagrams) =
        (port(tcp.local_addr()), port(other.local_addr()), port(udp.local_addr()));
    let folder = scratch();
    let packages = [
        probe("nowhere", "permissions: {net_connect: none}"),
        probe("listed", &format!("permissions: {{net_connect: [{listed}]}}")),
        probe("anywhere", "permissions: {net_connect: any}"),
    ];
    let par = serving(folder.path(), &packages).start().await;
    let connect = |port: u16| format!("socket.create_connection(('127.0.0.1', {port}), 5).close()");
    let send =
        format!("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {datagrams}))");
    let fast = format!("socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', {unlisted}))");
    for code in [connect(listed), connect(unlisted), send.clone(), fast.clone()] {
        refused(&par, "nowhere", &[EPERM], &code).await;
    }
    refused(&par, "nowhere", &[EPERM], "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)").await;
    reached(&par, "nowhere", "one, two = socket.socketpair(); one.send(b'x'); out = two.recv(1)").await;

    reached(&par, "listed", &connect(listed)).await;
    refused(&par, "listed", &[EACCES], &connect(unlisted)).await;
    for code in [&send, &fast] {
        refused(&par, "listed", &[EPERM], code).await;
    }
    assert_eq!(reached(&par, "listed", "out = os.environ['RES_OPTIONS']").await, "'use-vc'");

    for code in [&connect(listed), &connect(unlisted), &send] {
        reached(&par, "anywhere", code).await;
    }
}

#[tokio::test]
async fn a_package_listens_only_where_it_has_asked_to() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it is bound").port();
    let folder = scratch();
    let packages = [probe("silent", ""), probe("listening", &format!("permissions: {{net_bind: [{free}]}}"))];
    let par = serving(folder.path(), &packages).start().await;
    let bind = |port: u16| format!("socket.create_server(('127.0.0.1', {port})).close()");
    for port in [0, free] {
        refused(&par, "silent", &[EACCES], &bind(port)).await;
    }
    reached(&par, "listening", &bind(free)).await;
    refused(&par, "listening", &[EACCES], &bind(0)).await;
}
