//! The process that serves surfaces: nobody else's agent gets at it.

use super::{EACCES, EPERM, probe, reached, refused};
use crate::harness::{agent, eventually, par, scratch};

/// Abstract sockets of this host that are listened on, as agents see them.
const LISTENING: &str = "out = [line.split()[-1] for line in open('/proc/net/unix') \
    if '@' in line and line.split()[3] == '00010000']";

#[tokio::test]
async fn the_socket_of_a_packages_grpc_is_seen_by_others_and_not_reached() {
    let folder = scratch();
    let par = par()
        .production()
        .source(agent("grpc-own"))
        .source(probe("spy", "").apkg(folder.path()))
        .start()
        .await;
    let primary = par.package("grpc-own@1.0.0").await.expect("mounted")["primaries"][0].as_u64();
    let primary = primary.expect("a process serves it");
    // One of these names is its own: what the kernel's list says of a process is in its descriptors.
    let mine = eventually("its socket listens", async || {
        let seen = reached(&par, "spy", LISTENING).await;
        let names: Vec<String> =
            seen.split('\'').filter(|part| part.starts_with('@')).map(str::to_owned).collect();
        (!names.is_empty()).then_some(names)
    })
    .await;
    for name in mine {
        let connect = format!("socket.socket(socket.AF_UNIX).connect({:?})", name.replacen('@', "\0", 1));
        let connect = connect.replace("\\0", "\\x00").replace("\\u{0}", "\\x00");
        refused(&par, "spy", &[EPERM], &connect).await;
    }
    refused(&par, "spy", &[EPERM], &format!("os.kill({primary}, 0)")).await;
    refused(&par, "spy", &[EACCES], &format!("out = os.readlink('/proc/{primary}/fd/0')")).await;
}
