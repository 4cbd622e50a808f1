//! Whether the ports of the configuration can be had, and who has those that cannot.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    path::Path,
};

use super::checked::Check;
use crate::config::Config;

/// A port that `par serve` takes.
#[derive(Debug, Clone)]
pub(super) struct Port {
    name: &'static str,
    /// The setting that moves it.
    variable: &'static str,
    address: SocketAddr,
}

/// What trying it came to.
#[derive(Debug)]
enum Found {
    Free,
    /// Somebody listens there, and who it is as far as we may know.
    Held(Option<Holder>),
    Refused(io::Error),
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    pid: u32,
    name: String,
}

/// All of them.
pub(super) fn of(config: &Config) -> Vec<Port> {
    let http = if config.single.is_some() { "REST_PORT" } else { "PORT" };
    let mut ports = vec![
        Port { name: "port of HTTP", variable: http, address: config.http },
        Port { name: "port of gRPC", variable: "A2A_PORT", address: config.a2a },
        Port { name: "port of metrics", variable: "METRICS_PORT", address: config.metrics },
    ];
    if let Some(single) = &config.single {
        ports.push(Port { name: "port of the UI", variable: "UI_PORT", address: single.ui });
    }
    ports
}

/// Tries each. `running`: the process of a `par` that runs with this configuration.
pub(super) fn check(ports: &[Port], running: Option<u32>) -> Vec<Check> {
    ports.iter().map(|port| judge(port, &attempt(port.address), running)).collect()
}

fn attempt(address: SocketAddr) -> Found {
    match TcpListener::bind(address) {
        Ok(_) => Found::Free,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Found::Held(holder(address.port())),
        Err(error) => Found::Refused(error),
    }
}

/// Pure.
fn judge(port: &Port, found: &Found, running: Option<u32>) -> Check {
    let Port { name, variable, address } = port;
    let elsewhere = format!("set {variable} to another port");
    match found {
        Found::Free => Check::ok(*name, format!("{address} is free")),
        Found::Held(Some(holder)) if running == Some(holder.pid) => {
            Check::ok(*name, format!("{address} is held by the par that runs (process {})", holder.pid))
        }
        Found::Held(Some(Holder { pid, name: holder })) => Check::failed(
            *name,
            format!("{address} is held by {holder} (process {pid})"),
            format!("end that process, or {elsewhere}"),
        ),
        Found::Held(None) => Check::failed(
            *name,
            format!("{address} is held by a process of another user, or of another container"),
            format!("find it with `ss -ltnp` as root, or {elsewhere}"),
        ),
        Found::Refused(error) if error.kind() == io::ErrorKind::PermissionDenied => Check::failed(
            *name,
            format!("{address} may not be used by this user: {error}"),
            format!("{elsewhere} from 1024 on, or give par CAP_NET_BIND_SERVICE"),
        ),
        Found::Refused(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Check::failed(
            *name,
            format!("{} is no address of this host", address.ip()),
            "set HOST (METRICS_HOST) to an address of this host, or to 0.0.0.0",
        ),
        Found::Refused(error) => Check::failed(*name, format!("{address}: {error}"), elsewhere),
    }
}

/// Who listens at a port, as far as `/proc` shows it to us (proc(5)).
fn holder(port: u16) -> Option<Holder> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let sockets: Vec<String> = tables
        .iter()
        .flat_map(|table| listening(table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find_map(|pid| {
        let process = Path::new("/proc").join(pid.to_string());
        let mut files = fs::read_dir(process.join("fd")).ok()?.flatten();
        let has = |file: fs::DirEntry| {
            fs::read_link(file.path())
                .is_ok_and(|to| sockets.iter().any(|socket| to.as_os_str() == socket.as_str()))
        };
        files.any(has).then(|| {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            Holder { pid, name: name.trim().to_owned() }
        })
    })
}

/// Inodes of the sockets that listen at a port, of a table of the kernel. Pure.
fn listening(table: &str, port: u16) -> Vec<&str> {
    const LISTENS: &str = "0A";
    let of = |line: &'_ str| -> bool {
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1).and_then(|local| local.rsplit(':').next());
        local.and_then(|port| u16::from_str_radix(port, 16).ok()) == Some(port)
            && fields.nth(1) == Some(LISTENS)
    };
    table.lines().filter(|line| of(line)).filter_map(|line| line.split_ascii_whitespace().nth(9)).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::checked::Verdict, *};

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n   \
        1: 0100007F:1F90 0100007F:AAAA 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0\n   \
        2: 0100007F:2382 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0\n";

    #[test]
    fn a_port_is_free_ours_or_somebodys() {
        let port =
            Port { name: "port of HTTP", variable: "PORT", address: "127.0.0.1:8000".parse().unwrap() };
        let held = |pid| Found::Held(Some(Holder { pid, name: "nginx".to_owned() }));
        let judged = |found| judge(&port, &found, Some(7));
        assert_eq!(judged(Found::Free).verdict, Verdict::Ok);
        assert_eq!(judged(held(7)).verdict, Verdict::Ok);
        assert_eq!(judged(held(8)).found, "127.0.0.1:8000 is held by nginx (process 8)");
        assert_eq!(judged(Found::Held(None)).verdict, Verdict::Failed);
        for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::AddrNotAvailable, io::ErrorKind::Other] {
            let judged = judged(Found::Refused(kind.into()));
            assert!(judged.verdict == Verdict::Failed && judged.remedy.is_some(), "{judged:?}");
        }
    }

    #[test]
    fn only_who_listens_holds_a_port() {
        assert_eq!(listening(TABLE, 8080), ["4711"]);
        assert_eq!(listening(TABLE, 9090), ["4713"]);
        assert!(listening(TABLE, 43_690).is_empty());
    }

    #[test]
    fn who_holds_a_port_is_found() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let found = holder(listener.local_addr().unwrap().port()).unwrap();
        assert_eq!(found.pid, std::process::id());
    }
}
