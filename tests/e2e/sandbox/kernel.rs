//! The kernel: system calls, capabilities, limits.

use super::{EFBIG, EMFILE, ENOSYS, EPERM, attempt, probe, reached, refused, serving, workers};
use crate::harness::scratch;

/// Numbers of system calls on both processors.
pub(super) const SYSTEM_CALLS: &str = "\
arm = os.uname().machine == 'aarch64'\n\
SYS = {name: (two if arm else one) for name, one, two in [\
('ptrace', 101, 117), ('process_vm_readv', 310, 270), ('pidfd_getfd', 438, 438), ('kcmp', 312, 272),\
('unshare', 272, 97), ('setns', 308, 268), ('clone', 56, 220), ('clone3', 435, 435), ('mount', 165, 40),\
('umount2', 166, 39), ('pivot_root', 155, 41), ('chroot', 161, 51), ('fsopen', 430, 430), ('open_tree', 428, 428),\
('move_mount', 429, 429), ('mount_setattr', 442, 442), ('bpf', 321, 280), ('perf_event_open', 298, 241),\
('userfaultfd', 323, 282), ('io_uring_setup', 425, 425), ('io_uring_enter', 426, 426), ('keyctl', 250, 219),\
('add_key', 248, 217), ('request_key', 249, 218), ('open_by_handle_at', 304, 265), ('clock_settime', 227, 112),\
('settimeofday', 164, 170), ('adjtimex', 159, 171), ('clock_adjtime', 305, 266), ('swapon', 167, 224),\
('acct', 163, 89), ('quotactl', 179, 60), ('init_module', 175, 105), ('delete_module', 176, 106),\
('kexec_load', 246, 104), ('process_madvise', 440, 440), ('shmget', 29, 194), ('semget', 64, 190),\
('msgget', 68, 186), ('mq_open', 240, 180), ('fanotify_init', 300, 262), ('syslog', 103, 116)]}\n";

#[tokio::test]
async fn system_calls_that_no_agent_needs_are_refused_and_nobody_dies_of_it() {
    let folder = scratch();
    let par = serving(folder.path(), &[probe("spy", "")]).start().await;
    let buffer = "room = ctypes.create_string_buffer(512)\n";
    // Arguments with which the kernel itself would say something else than EPERM.
    for row in [
        "call(SYS['unshare'], 0x200)",
        "call(SYS['unshare'], 0x10000000)",
        "call(SYS['setns'], -1, 0)",
        "call(SYS['clone'], 0x10000000 | 17, 0, 0, 0, 0)",
        "call(SYS['kcmp'], os.getpid(), os.getpid(), 0, 0, 0)",
        "call(SYS['ptrace'], 0, 0, 0, 0)",
        "call(SYS['process_vm_readv'], os.getpid(), 0, 0, 0, 0, 0)",
        "call(SYS['process_madvise'], -1, 0, 0, 0, 0)",
        "call(SYS['pidfd_getfd'], -1, 0, 0)",
        "call(SYS['bpf'], 9999, room, 1)",
        "call(SYS['perf_event_open'], 0, 0, -1, -1, 0)",
        "call(SYS['userfaultfd'], 1)",
        "call(SYS['io_uring_setup'], 1, 0)",
        "call(SYS['io_uring_enter'], -1, 0, 0, 0, 0, 0)",
        "call(SYS['keyctl'], 0, -3, 1)",
        "call(SYS['add_key'], 0, 0, 0, 0, 0)",
        "call(SYS['request_key'], 0, 0, 0, 0)",
        "call(SYS['open_by_handle_at'], -1, 0, 0)",
        "call(SYS['mount'], 1, 1, 1, 0, 0)",
        "call(SYS['umount2'], 1, 1 << 30)",
        "call(SYS['fsopen'], 1, 1 << 20)",
        "call(SYS['open_tree'], -1, 1, 0)",
        "call(SYS['move_mount'], -1, 1, -1, 1, 0)",
        "call(SYS['mount_setattr'], -1, 1, 0, 1, 0)",
        "call(SYS['pivot_root'], 1, 1)",
        "call(SYS['chroot'], 1)",
        "call(SYS['clock_settime'], 0, 1)",
        "call(SYS['settimeofday'], 1, 1)",
        "call(SYS['adjtimex'], room)",
        "call(SYS['clock_adjtime'], 0, room)",
        "call(SYS['swapon'], 1, 0)",
        "call(SYS['acct'], 1)",
        "call(SYS['quotactl'], 0, 1, 0, 0)",
        "call(SYS['init_module'], 0, 0, 0)",
        "call(SYS['delete_module'], 1, 0)",
        "call(SYS['kexec_load'], 0, 0, 0, 0)",
        "call(SYS['fanotify_init'], 0x200, 0)",
        "call(SYS['syslog'], 9999, 0, 0)",
        "call(SYS['shmget'], 0, 4096, 0o1600)",
        "call(SYS['semget'], 0, 1, 0o1600)",
        "call(SYS['msgget'], 0, 0o1600)",
        "call(SYS['mq_open'], 1, 0, 0, 0)",
        "fcntl.ioctl(0, 0x5412, b'x')",
        "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
        // Who has no capabilities is refused this one by the kernel as well; it looks at the protocol first.
        "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1000)",
        "socket.socket(socket.AF_INET6, socket.SOCK_RAW, 1000)",
        "socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
        "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)",
        "socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)",
        "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)",
        "socket.socket(socket.AF_INET, 10, 0)",
    ] {
        refused(&par, "spy", &[EPERM], &format!("{SYSTEM_CALLS}{buffer}{row}")).await;
    }
    refused(&par, "spy", &[ENOSYS], &format!("{SYSTEM_CALLS}call(SYS['clone3'], 0, 0)")).await;
    if cfg!(target_arch = "x86_64") {
        refused(&par, "spy", &[ENOSYS], "call(0x40000000 | 39)").await;
        refused(&par, "spy", &[EPERM], "call(154, 0, 0, 0)").await;
    }
    reached(&par, "spy", "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()").await;
    assert_eq!(workers(&par, "spy@1.0.0").await.len(), 1, "the worker of the start still serves");
}

#[tokio::test]
async fn an_agent_has_no_capabilities_and_cannot_get_any() {
    let folder = scratch();
    let par = serving(folder.path(), &[probe("spy", "")]).start().await;
    let status = reached(&par, "spy", "out = open('/proc/self/status').read()").await;
    for line in
        ["CapPrm:\\t0000000000000000", "CapEff:\\t0000000000000000", "NoNewPrivs:\\t1", "Seccomp:\\t2"]
    {
        assert!(status.contains(line), "{line}: {status}");
    }
    let made = "write(tempfile.gettempdir() + '/u'); out = oct(os.stat(tempfile.gettempdir() + '/u').st_mode & 0o777)";
    assert_eq!(reached(&par, "spy", made).await, "'0o600'", "its files are for its user alone");
}

#[tokio::test]
async fn limits_bind_and_cannot_be_raised() {
    let folder = scratch();
    let par = serving(folder.path(), &[probe("spy", "")]).setting("sandbox_file_bytes", "1MiB").start().await;
    let fill = "write(tempfile.gettempdir() + '/large', 'x' * (2 << 20))";
    refused(&par, "spy", &[EFBIG], fill).await;
    assert_eq!(reached(&par, "spy", "out = resource.getrlimit(resource.RLIMIT_CORE)").await, "(1, 1)");
    for name in ["CORE", "FSIZE", "NOFILE", "NPROC"] {
        let told =
            attempt(&par, "spy", &format!("resource.setrlimit(resource.RLIMIT_{name}, (1 << 40, 1 << 40))"))
                .await;
        assert_eq!(told["refused"], "ValueError", "{name}: {told}");
    }
    // Last: what it opened may stay open until its worker collects it.
    refused(
        &par,
        "spy",
        &[EMFILE],
        "kept = []\nwhile len(kept) < 10_000:\n    kept.append(os.open('/dev/null', os.O_RDONLY))",
    )
    .await;
}
