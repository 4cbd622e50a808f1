//! Steps 2, 8 and 10: whom the runtime speaks to from its start until it is ready, and where it listens.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    process::Command,
};

use super::{ID, saying};
use crate::harness::{Faults, Package, Par, S3Server, not_checked, par, process::Process, scratch};

/// A connection or a listener of a network, as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Socket {
    local: SocketAddrV4,
    remote: SocketAddrV4,
    listens: bool,
    inode: u64,
}

/// The TCP sockets of the network that a process is in.
fn sockets(pid: u32) -> Vec<Socket> {
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let address = |text: &str| {
        let (ip, port) = text.split_once(':')?;
        // As a number in memory: the first part of the address is its lowest byte.
        let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_le_bytes());
        Some(SocketAddrV4::new(ip, u16::from_str_radix(port, 16).ok()?))
    };
    let socket = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, remote) = (address(words.get(1)?)?, address(words.get(2)?)?);
        let inode = words.get(9)?.parse().ok()?;
        Some(Socket { local, remote, listens: words.get(3) == Some(&"0A"), inode })
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// The sockets that a process and all that it has started hold.
fn held(par: Process) -> Vec<Socket> {
    let processes = std::iter::once(par).chain(par.descendants());
    let inodes: BTreeSet<u64> = processes
        .filter_map(|process| fs::read_dir(format!("/proc/{}/fd", process.pid)).ok())
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect();
    sockets(par.pid).into_iter().filter(|socket| inodes.contains(&socket.inode)).collect()
}

/// Whether this machine lets us make networks.
fn networks_are_allowed() -> bool {
    let made = Command::new("unshare")
        .args(["--map-root-user", "--net", "ip", "link", "set", "lo", "up"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !made {
        not_checked("connections that are cut: this machine lets nobody make a network");
    }
    made
}

/// Whether a process has left the network of the tests.
fn has_own_network(pid: u32) -> bool {
    let network = |of: &str| fs::read_link(format!("/proc/{of}/ns/net")).ok();
    network(&pid.to_string()).is_some_and(|its| Some(its) != network("self"))
}

/// One row of the kernel's counters of a network.
fn counter(pid: u32, protocol: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/net/snmp")).expect("counters");
    let mut rows = text.lines().filter(|line| line.starts_with(&format!("{protocol}:")));
    let (names, values) = (rows.next().expect("names"), rows.next().expect("values"));
    let at = names.split_whitespace().position(|word| word == name).expect("a name");
    values.split_whitespace().nth(at).and_then(|value| value.parse().ok()).expect("a number")
}

/// `GET` from within the network of a process: status and body.
fn get(pid: u32, url: &str) -> (String, String) {
    let target = pid.to_string();
    let output = Command::new("nsenter")
        .args(["--preserve-credentials", "--user", "--net", "--target", &target])
        .args([
            "curl",
            "--silent",
            "--noproxy",
            "*",
            "--max-time",
            "10",
            "--write-out",
            "\n%{http_code}",
            url,
        ])
        .output()
        .expect("nsenter and curl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').expect("a status");
    (status.to_owned(), body.to_owned())
}

#[tokio::test]
async fn from_start_to_ready_only_s3_is_spoken_to() {
    let s3 = S3Server::start().await;
    let package = saying("x");
    let url = s3.put("packages-of-tests", "tiny.apkg", package.bytes());
    let proxy = Faults::before(s3.port).await;
    let mut par = s3.known_to(par().single(ID, url), proxy.port).launch();
    let own = [par.port, par.grpc_port, par.ui_port, par.metrics_port];
    let mut spoken = BTreeSet::new();
    while par.lines().iter().all(|line| line.event() != "ready") {
        assert!(par.exited().is_none(), "{}", par.everything_said());
        for socket in held(par.process()).into_iter().filter(|socket| !socket.listens) {
            // Ours, asked by ourselves whether it accepts, or asked by the test.
            if !own.contains(&socket.remote.port()) && !own.contains(&socket.local.port()) {
                spoken.insert(socket.remote);
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let bound_only = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    spoken.remove(&bound_only);
    let allowed = SocketAddrV4::new(Ipv4Addr::LOCALHOST, proxy.port);
    assert_eq!(spoken, BTreeSet::from([allowed]), "{}", par.everything_said());
    let asked = proxy.script.asked("");
    assert!(asked.iter().all(|asked| asked.method == "GET"), "only objects are got: {asked:?}");
}

#[tokio::test]
async fn without_a_network_a_package_of_a_wheelhouse_boots_on_the_usual_ports_and_asks_nobody() {
    if !networks_are_allowed() {
        return;
    }
    let place = scratch();
    let wheels = place.path().join("wheels");
    fs::create_dir(&wheels).expect("a directory");
    wheel(&wheels);
    let package = Package::new("offline", "1.0.0", "entrypoint: main:run\nui: {path: ui}")
        .file("main.py", "import housed\ndef run(input):\n    return housed.WORD\n")
        .file("requirements.txt", "housed==1.0\n")
        .file("ui/index.html", "<html>a page</html>");
    let builder = par()
        .single(ID, package.apkg(place.path()).to_string_lossy())
        .alone()
        .env("HOST", "0.0.0.0")
        .env("REST_PORT", "8080")
        .env("A2A_PORT", "50051")
        .env("UI_PORT", "3000")
        .env("METRICS_PORT", "9090")
        .env("WHEELHOUSE_DIR", wheels.to_string_lossy())
        .allow("identity_off");
    let mut par = builder.launch();
    let pid = par.process().pid;
    // What is sent elsewhere has a way out and no answer: an attempt to connect is seen for seconds.
    let mut elsewhere = BTreeSet::new();
    while par.lines().iter().all(|line| line.event() != "ready") {
        assert!(par.exited().is_none(), "{}", par.everything_said());
        // Until it has moved into its own network it shows the connections of everybody here.
        let seen = if has_own_network(pid) { sockets(pid) } else { Vec::new() };
        let remotes = seen.into_iter().map(|socket| *socket.remote.ip());
        elsewhere.extend(remotes.filter(|remote| !remote.is_loopback() && !remote.is_unspecified()));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(has_own_network(pid));
    assert_eq!(elsewhere, BTreeSet::new(), "{}", par.everything_said());
    assert_eq!(counter(pid, "Udp", "OutDatagrams"), 0, "nobody was asked for a name");
    for port in [8080, 50051, 3000] {
        assert!(is_open(&par, port), "{port} on 0.0.0.0 in {:?}", sockets(pid));
    }
    let (status, health) = get(pid, "http://127.0.0.1:8080/health");
    assert!(status == "200" && health.contains("\"ui\":true"), "{status} {health}");
    let (status, page) = get(pid, "http://127.0.0.1:3000/");
    assert_eq!((status.as_str(), page.as_str()), ("200", "<html>a page</html>"));
    let (status, answer) = get(pid, "http://127.0.0.1:8080/agents/app-7f3a");
    assert!(status == "200" && answer.contains("offline@1.0.0"), "{status} {answer}");
}

fn is_open(par: &Par, port: u16) -> bool {
    let everywhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
    sockets(par.process().pid).iter().any(|socket| socket.listens && socket.local == everywhere)
}

/// A wheel with one module, made without any tool: a zip with text files.
fn wheel(directory: &std::path::Path) {
    let info = "housed-1.0.dist-info";
    let bytes = Package::bare("housed", "1.0")
        .file("housed.py", "WORD = 'from the wheelhouse'\n")
        .file(&format!("{info}/METADATA"), "Metadata-Version: 2.1\nName: housed\nVersion: 1.0\n")
        .file(
            &format!("{info}/WHEEL"),
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        .file(
            &format!("{info}/RECORD"),
            format!("housed.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"),
        )
        .bytes();
    fs::write(directory.join("housed-1.0-py3-none-any.whl"), bytes).expect("a file");
}
