//! System calls that no agent needs. Refused with an error, never by death: a library that tries one goes on
//! without.

use std::io;

use seccompiler::{
    BpfProgram,
    SeccompCmpOp::{Eq, MaskedEq, Ne},
};

use super::{
    filter::{Rules, Test, all_of, program, text, without_x32},
    rules::Network,
};

/// Always refused. Looking into other processes, changing what the system is made of, interfaces of the
/// kernel with a history of faults, and ways for processes of one user to share memory past all other rules
/// (System V, message queues).
const REFUSED: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_mount_setattr,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_fanotify_init,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgctl,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Newer than our C library's list; the same number on every processor.
const OPEN_TREE_ATTR: i64 = 467;

/// Answered as if they had succeeded, without effect, as some of them are on other systems: Landlock does not
/// see them, and the files of the runtime and of all packages have one owner. Half of all code that copies
/// files would break if they failed.
const IGNORED: &[i64] = &[
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
];

/// Newer than some C libraries' lists; the same number on every processor.
const FCHMODAT2: i64 = 452;

/// Kinds of sockets that there are: files, both internets, and the kernel's routes.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Both internets.
const INTERNET: [i32; 2] = [libc::AF_INET, libc::AF_INET6];

/// The part of a socket's type that is no flag.
const TYPE: u64 = 0xf;

/// The old way to raw packets, which kernels still understand.
const PACKET: i32 = 10;

/// Flags of `clone` that make a namespace.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Terminal requests that type on somebody else's keyboard: `TIOCSTI` and `TIOCLINUX`.
const TYPING: [u64; 2] = [0x5412, 0x541c];

fn word(number: i32) -> u64 {
    u64::from(number.unsigned_abs())
}

/// The programs of an agent's processes, to be installed in this order.
pub(super) fn programs(network: &Network) -> io::Result<Vec<BpfProgram>> {
    let mut programs = common()?;
    programs.push(program(IGNORED.iter().map(|number| (*number, vec![])).collect(), 0)?);
    match network.connect.as_deref() {
        None => {}
        Some([]) => programs.push(program(no_internet()?, libc::EPERM)?),
        Some([_, ..]) => programs.push(program(tcp_only()?, libc::EPERM)?),
    }
    Ok(programs)
}

/// The programs of an installer, which sets modes of what it installs.
pub(super) fn programs_of_installers() -> io::Result<Vec<BpfProgram>> {
    common()
}

fn common() -> io::Result<Vec<BpfProgram>> {
    let mut programs = vec![
        program(refused()?, libc::EPERM)?,
        // Its flags lie in memory, where no filter sees them; callers fall back to `clone`.
        program([(libc::SYS_clone3, vec![])].into(), libc::ENOSYS)?,
    ];
    if cfg!(target_arch = "x86_64") {
        programs.push(without_x32());
    }
    Ok(programs)
}

fn refused() -> io::Result<Rules> {
    let mut rules: Rules = REFUSED.iter().map(|number| (*number, vec![])).collect();
    let namespaces = NAMESPACES.map(|flag| [(0, MaskedEq(word(flag)), word(flag))]);
    let typing = TYPING.map(|request| [(1, Eq, request)]);
    rules.insert(libc::SYS_clone, each(&namespaces)?);
    rules.insert(libc::SYS_ioctl, each(&typing)?);
    rules.insert(libc::SYS_socket, sockets()?);
    rules.extend(of_others()?);
    Ok(rules)
}

/// Sockets that are raw, of another family than four, or speak what Landlock's rules about TCP do not see.
fn sockets() -> io::Result<Vec<seccompiler::SeccompRule>> {
    let mut rules = vec![
        all_of(&FAMILIES.map(|family| (0, Ne, word(family))))?,
        all_of(&[(0, Eq, word(libc::AF_NETLINK)), (2, Ne, word(libc::NETLINK_ROUTE))])?,
    ];
    for family in INTERNET.map(word) {
        for kind in [libc::SOCK_RAW, libc::SOCK_RDM, libc::SOCK_SEQPACKET, libc::SOCK_DCCP, PACKET] {
            rules.push(all_of(&[(0, Eq, family), (1, MaskedEq(TYPE), word(kind))])?);
        }
        for protocol in [libc::IPPROTO_MPTCP, libc::IPPROTO_SCTP] {
            rules.push(all_of(&[(0, Eq, family), (2, Eq, word(protocol))])?);
        }
    }
    Ok(rules)
}

/// The limit that packages are counted by, as a resource's number. Reading it by the same call is refused, too:
/// where the new value lies in memory no filter can tell for sure.
const COUNTED_BY: u64 = libc::RLIMIT_MSGQUEUE as u64;

/// Making other processes of the same user slower, smaller or elsewhere: allowed to oneself only, as process
/// 0. And shedding the mark.
fn of_others() -> io::Result<Rules> {
    let others = |index| all_of(&[(index, Ne, 0)]);
    let mut rules = Rules::new();
    for number in [
        libc::SYS_prlimit64,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setattr,
    ] {
        rules.insert(number, vec![others(0)?]);
    }
    rules.entry(libc::SYS_prlimit64).or_default().push(all_of(&[(1, Eq, COUNTED_BY)])?);
    rules.insert(libc::SYS_setrlimit, vec![all_of(&[(0, Eq, COUNTED_BY)])?]);
    // The user as a whole is 2 for one call and 3 for the other.
    for (number, user) in [(libc::SYS_setpriority, 2), (libc::SYS_ioprio_set, 3)] {
        rules.insert(number, vec![others(1)?, all_of(&[(0, Eq, user)])?]);
    }
    Ok(rules)
}

fn no_internet() -> io::Result<Rules> {
    let families = INTERNET.map(|family| [(0, Eq, word(family))]);
    Ok([(libc::SYS_socket, each(&families)?)].into())
}

/// What ports cannot be counted of: datagrams, other protocols, and data that is sent along with the
/// connecting.
fn tcp_only() -> io::Result<Rules> {
    let mut sockets = Vec::new();
    for family in INTERNET.map(word) {
        sockets.push(all_of(&[(0, Eq, family), (1, MaskedEq(TYPE), word(libc::SOCK_DGRAM))])?);
        sockets.push(all_of(&[(0, Eq, family), (2, Ne, 0), (2, Ne, word(libc::IPPROTO_TCP))])?);
    }
    let fast = |index| all_of(&[(index, MaskedEq(word(libc::MSG_FASTOPEN)), word(libc::MSG_FASTOPEN))]);
    Ok([
        (libc::SYS_socket, sockets),
        (libc::SYS_sendto, vec![fast(3)?]),
        (libc::SYS_sendmsg, vec![fast(2)?]),
        (libc::SYS_sendmmsg, vec![fast(3)?]),
    ]
    .into())
}

fn each<const N: usize>(tests: &[[Test; N]]) -> io::Result<Vec<seccompiler::SeccompRule>> {
    tests.iter().map(|tests| all_of(tests)).collect()
}

/// No programs are started from here on: what a template enters before it imports.
pub(super) fn no_programs() -> io::Result<String> {
    Ok(text(&program(executing(), libc::EPERM)?))
}

/// Nor any process: what a worker enters after its own fork. Threads go on.
pub(super) fn no_processes() -> io::Result<String> {
    let mut rules = executing();
    rules.extend(forking()?);
    Ok(text(&program(rules, libc::EPERM)?))
}

/// No other process: what a worker enters before its program, which it may still become.
pub(super) fn no_children() -> io::Result<String> {
    Ok(text(&program(forking()?, libc::EPERM)?))
}

fn forking() -> io::Result<Rules> {
    let mut rules = Rules::new();
    rules.insert(libc::SYS_clone, vec![all_of(&[(0, MaskedEq(word(libc::CLONE_THREAD)), 0)])?]);
    #[cfg(target_arch = "x86_64")]
    rules.extend([(libc::SYS_fork, vec![]), (libc::SYS_vfork, vec![])]);
    Ok(rules)
}

fn executing() -> Rules {
    [(libc::SYS_execve, vec![]), (libc::SYS_execveat, vec![])].into()
}
