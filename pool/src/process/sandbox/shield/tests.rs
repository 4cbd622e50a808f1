//! Real children in the real sandbox of the running kernel.

use std::{
    io::Read,
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::Output,
};

use rustix::pipe::{PipeFlags, pipe_with};

use super::*;
use crate::process::launch::{Launch, Started};

struct Host {
    top: tempfile::TempDir,
    shield: Shield,
}

fn host(mode: SandboxMode) -> Host {
    let top = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        let path = top.path().canonicalize().unwrap().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    let data = place("data");
    let roots = Roots { temporary: place("data/tmp"), uploads: place("data/uploads") };
    fs::write(data.join("token"), "secret").unwrap();
    fs::write(place("package").join("code"), "code").unwrap();
    let settings = SandboxSettings { mode, file_bytes: 1 << 20, ..SandboxSettings::default() };
    Host { shield: Shield::new(settings, &[data], vec![], roots), top }
}

impl Host {
    fn path(&self, name: &str) -> PathBuf {
        self.top.path().canonicalize().unwrap().join(name)
    }

    fn bounds(&self, permissions: &Permissions) -> Bounds {
        let package = self.path("package");
        self.shield.bounds_of(permissions, &package, std::slice::from_ref(&package), "p").unwrap()
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).current_dir("/").env("TOP", self.path(""));
        command
    }
}

/// Starts a command as templates are; gives what it writes, too.
fn start(command: &Command, entry: Entry) -> (Started, fs::File) {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let null = || fs::File::options().read(true).write(true).open("/dev/null").unwrap().into();
    let started = Launch::new(command, [null(), write, null()], entry).unwrap().start().unwrap();
    (started, read.into())
}

/// What a command says within these bounds.
fn told(host: &Host, mut command: Command, bounds: &Bounds) -> (String, Inner) {
    let (entry, inner) = host.shield.confine(&mut command, bounds, Offspring::Forked).unwrap();
    let (started, mut output) = start(&command, entry);
    let mut told = String::new();
    output.read_to_string(&mut told).unwrap();
    started.wait();
    (told.trim().to_owned(), inner)
}

fn open() -> Permissions {
    Permissions { subprocess: true, ..Permissions::default() }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Says of each attempt whether it was possible.
const ATTEMPTS: &str = "attempt() { if \"$@\" 2>/dev/null >&2; then printf yes; else printf no; fi; printf ' '; }\n\
    attempt cat $TOP/data/token; attempt cat $TOP/package/code; attempt ls $TOP; attempt touch $TOP/outside;\
    attempt touch $TMPDIR/inside; attempt cat /etc/passwd; attempt cat /etc/shadow; attempt ls /usr;\
    attempt sh -c 'echo x > /dev/null'; attempt ls /root; attempt touch /usr/x; attempt ls $TOP/data";

#[test]
fn what_is_granted_is_reached_and_nothing_else() {
    let host = host(SandboxMode::Auto);
    let (told, _) = told(&host, host.shell(ATTEMPTS), &host.bounds(&open()));
    assert_eq!(told, "no yes no no yes yes no yes yes no no no");
}

#[test]
fn switched_off_it_refuses_nothing() {
    let host = host(SandboxMode::Off);
    let command = host.shell("cat $TOP/data/token; echo; cat /proc/self/status");
    let (told, inner) = told(&host, command, &host.bounds(&open()));
    assert!(inner.layer.is_none() && inner.worker.is_none() && inner.template.is_none());
    assert!(told.starts_with("secret") && told.contains("NoNewPrivs:\t0"), "{told}");
    assert_eq!(host.shield.level(true).level, "none");
}

#[test]
fn a_child_has_no_capabilities_a_filter_and_limits() {
    let host = host(SandboxMode::Auto);
    let command = host.shell("cat /proc/self/status; umask; ulimit -c -n; ulimit -f");
    let (told, _) = told(&host, command, &host.bounds(&open()));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let line = format!("{set}:\t0000000000000000");
        // Whoever may not drop the bounding set has nothing in the others.
        let bounding = set == "CapBnd" && !rustix::process::geteuid().is_root();
        assert!(bounding || told.contains(&line), "{set}: {told}");
    }
    assert!(told.contains("NoNewPrivs:\t1") && told.contains("Seccomp:\t2"), "{told}");
    assert!(told.contains("\n0077\n"), "{told}");
    assert!(told.ends_with(&format!("\n{}", (1 << 20) / 512)), "file size in blocks: {told}");
}

#[test]
fn a_descriptor_that_was_forgotten_does_not_come_along() {
    let host = host(SandboxMode::Auto);
    let file = fs::File::open(host.path("data/token")).unwrap();
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    let number = file.as_raw_fd();
    let script = format!("test -e /proc/self/fd/{number} && echo there || echo gone");
    let mut plain = host.shell(&script);
    assert_eq!(text(&plain.output().unwrap()), "there");
    assert_eq!(told(&host, host.shell(&script), &host.bounds(&open())).0, "gone");
}

#[test]
fn what_is_required_and_missing_is_refused_by_name() {
    let weak = SandboxLevel::of(Kernel { landlock: 5, seccomp: false }, true);
    for (mode, accepted) in
        [(SandboxMode::Require, false), (SandboxMode::Auto, true), (SandboxMode::Off, true)]
    {
        assert_eq!(host(mode).shield.accepts(&weak).is_ok(), accepted, "{mode:?}");
    }
    let strict = host(SandboxMode::Require).shield;
    let refusal = strict.accepts(&weak).unwrap_err().to_string();
    assert_eq!(refusal, "the sandbox is required, but this host lacks scopes, seccomp");
    let full = SandboxLevel::of(Kernel { landlock: 6, seccomp: true }, true);
    assert!(strict.accepts(&full).is_ok());
}

#[test]
fn an_installer_writes_where_it_may_and_keeps_modes() {
    let host = host(SandboxMode::Auto);
    let (environment, other) = (host.path("data/environments/a"), host.path("data/environments/b"));
    fs::create_dir_all(&environment).unwrap();
    fs::create_dir_all(&other).unwrap();
    let script = "cd $TOP/data/environments && touch a/x && chmod 755 a/x && stat -c %a a/x;\
        touch b/x 2>/dev/null || echo refused; cat ../token 2>/dev/null || echo refused";
    let mut command = host.shell(script);
    host.shield.confine_install(&mut command, &[environment], &[]).unwrap();
    assert_eq!(text(&command.output().unwrap()), "755\nrefused\nrefused");
}

#[test]
fn one_more_layer_leaves_only_its_own_temporary_directory() {
    let host = host(SandboxMode::Auto);
    let bounds = host.bounds(&open());
    for name in ["one", "two"] {
        fs::create_dir(bounds.temporary().join(name)).unwrap();
    }
    let script = "cd $TMPDIR; for name in one two; do (: > $name/x) 2>/dev/null && echo $name; done; cat $TOP/package/code";
    assert_eq!(told(&host, host.shell(script), &bounds).0, "one\ntwo\ncode");
    let layer = host.shield.extra_layer(&bounds, &bounds.temporary().join("one")).unwrap().unwrap();
    let mut command = host.shell(script);
    enter_after(&mut command, layer);
    let (entry, _) = host.shield.confine(&mut command, &bounds, Offspring::Forked).unwrap();
    entry.prepare(&mut command);
    assert_eq!(text(&command.output().unwrap()), "one\ncode");
}

fn enter_after(command: &mut Command, layer: OwnedFd) {
    let enter = move || {
        rustix::thread::set_no_new_privs(true)?;
        #[expect(unsafe_code, reason = "no crate enters a ruleset that came as a descriptor")]
        // SAFETY: two numbers; the layer is open as long as this closure.
        let entered = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, layer.as_raw_fd(), 0) };
        if entered == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    #[expect(unsafe_code, reason = "Command::pre_exec is the only hook between fork and exec")]
    // SAFETY: system calls only.
    unsafe {
        command.pre_exec(enter);
    }
}

/// The half of it that a template's interpreter does not do itself; the best of many, since the machine has
/// others to serve. What it costs on a quiet one, 0.6 ms, is a row of the bench.
#[test]
fn the_sandbox_costs_a_start_a_few_milliseconds_at_most() {
    let host = host(SandboxMode::Auto);
    let package = host.path("package");
    let best = |confined: bool| {
        let took = || {
            let begin = std::time::Instant::now();
            let mut command = Command::new("/bin/true");
            let entry = if confined {
                let own = std::slice::from_ref(&package);
                let bounds = host.shield.bounds_of(&open(), &package, own, "p").unwrap();
                host.shield.confine(&mut command, &bounds, Offspring::Forked).unwrap().0
            } else {
                Entry::free(Some(getpid()))
            };
            start(&command, entry).0.wait();
            begin.elapsed()
        };
        (0..100).map(|_| took()).min().unwrap()
    };
    let (free, confined) = (best(false), best(true));
    let added = confined.saturating_sub(free);
    assert!(
        added < std::time::Duration::from_millis(4),
        "{added:?}: {free:?} without it, {confined:?} with it"
    );
}
