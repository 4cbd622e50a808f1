//! Starts a program without a copy of the process that starts it.
//!
//! The standard library forks as soon as something has to be done between fork and exec. A fork write-protects every
//! page that the runtime has; whatever a call writes afterwards is a fault, some thousands of them after each start.
//! Here the child runs in our memory while the thread that starts it waits, as in `posix_spawn`, which cannot enter a
//! sandbox.

use std::{
    ffi::{CString, OsStr, c_char, c_int, c_void},
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    process::Command,
    ptr,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, setpgid, waitid},
};

use super::{priority, sandbox::Entry};

mod signals;

use signals::Held;

/// The child's stack until its exec. What runs on it are system calls and our few frames; `posix_spawn` of the C library
/// makes do with half.
const STACK: usize = 64 * 1024;

/// A program that is about to be started: in a process group of its own, with no variables but its own.
#[derive(Debug)]
pub(super) struct Launch {
    program: CString,
    arguments: Vec<CString>,
    variables: Vec<CString>,
    directory: CString,
    streams: [OwnedFd; 3],
    entry: Entry,
    low: bool,
}

/// A child that has been started, and that somebody has to wait for.
#[derive(Debug)]
pub(super) struct Started {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Launch {
    /// What a command names, an absolute path: program, arguments, variables and directory. It gets `streams` as input,
    /// output and errors, and enters by `entry`.
    pub(super) fn new(command: &Command, streams: [OwnedFd; 3], entry: Entry) -> io::Result<Self> {
        let given = std::iter::once(command.get_program()).chain(command.get_args());
        let variables = command.get_envs().filter_map(|(name, value)| {
            let value = value?;
            Some([name.as_bytes(), b"=", value.as_bytes()].concat())
        });
        Ok(Self {
            program: text(command.get_program())?,
            arguments: given.map(text).collect::<io::Result<_>>()?,
            variables: variables.map(CString::new).collect::<Result<_, _>>()?,
            directory: command.get_current_dir().map_or_else(|| Ok(c".".to_owned()), text)?,
            streams,
            entry,
            low: false,
        })
    }

    /// It begins at low priority, where that can be taken back.
    pub(super) fn low(self) -> Self {
        Self { low: priority::may_raise(), ..self }
    }

    /// Starts it, and returns when its program has begun.
    pub(super) fn start(&self) -> io::Result<Started> {
        let pointers = |all: &[CString]| -> Vec<*const c_char> {
            all.iter().map(|one| one.as_ptr()).chain([ptr::null()]).collect()
        };
        let (arguments, variables) = (pointers(&self.arguments), pointers(&self.variables));
        let mut child = Child {
            launch: self,
            arguments: arguments.as_ptr(),
            variables: variables.as_ptr(),
            failed: None,
        };
        let mut stack = vec![0_u128; STACK / size_of::<u128>()];
        let top = stack.as_mut_ptr_range().end;
        let mut pidfd: RawFd = -1;
        let held = Held::all()?;
        #[expect(unsafe_code, reason = "no crate starts a program like this and enters a sandbox on the way")]
        // SAFETY: with CLONE_VFORK this thread goes on only when the child has another memory or has ended, so stack and
        // `child` outlive its use of them, and nobody else knows of either. The top of a stack of `u128` is aligned. What
        // the child does is said at `begin`.
        let pid = unsafe {
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
            libc::clone(begin, top.cast(), flags, (&raw mut child).cast(), &raw mut pidfd)
        };
        let pid = if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) };
        drop(held);
        let pid = Pid::from_raw(pid?).ok_or(io::ErrorKind::InvalidData)?;
        #[expect(unsafe_code, reason = "the kernel has opened it for us")]
        // SAFETY: a clone that has succeeded has opened it, and nobody else knows the number.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        let started = Started { pid, pidfd };
        match child.failed {
            None => Ok(started),
            Some((step, error)) => {
                started.wait();
                let error = io::Error::from(error);
                Err(io::Error::new(error.kind(), format!("{}: {error}", step.text())))
            }
        }
    }
}

impl Started {
    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// Ends it.
    pub(super) fn kill(&self) {
        // Gone already is what was wanted.
        pidfd_send_signal(&self.pidfd, Signal::KILL).ok();
    }

    /// Waits for its end.
    pub(super) fn wait(&self) {
        let ended = || waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        while matches!(ended(), Err(Errno::INTR)) {}
    }
}

fn text(text: impl AsRef<OsStr>) -> io::Result<CString> {
    Ok(CString::new(text.as_ref().as_bytes())?)
}

/// Where a child was when it could not go on.
#[derive(Debug, Clone, Copy)]
enum ChildStep {
    Streams,
    Directory,
    Signals,
    Entry,
    Program,
}

impl ChildStep {
    const fn text(self) -> &'static str {
        match self {
            Self::Streams => "its streams",
            Self::Directory => "its directory",
            Self::Signals => "its signals",
            Self::Entry => "its sandbox",
            Self::Program => "its program",
        }
    }
}

/// What the child reads, and the one place to which it writes.
struct Child<'a> {
    launch: &'a Launch,
    arguments: *const *const c_char,
    variables: *const *const c_char,
    failed: Option<(ChildStep, Errno)>,
}

/// The child's own code. It shares the memory of a process whose other threads run: it makes system calls, takes no
/// lock, allocates and frees nothing, and leaves everything but `failed` as it was. Descriptors are its own: what it
/// closes or moves is still there for us.
extern "C" fn begin(child: *mut c_void) -> c_int {
    #[expect(unsafe_code, reason = "the one argument that a child gets")]
    // SAFETY: it is the `Child` of `start`, which waits and looks at it only after our end.
    let child = unsafe { &mut *child.cast::<Child<'_>>() };
    let error = child.become_program();
    child.failed = Some(error);
    // Its number tells nobody anything.
    1
}

impl Child<'_> {
    /// Returns only if that is not possible.
    fn become_program(&self) -> (ChildStep, Errno) {
        let Err(refused) = self.prepare() else {
            #[expect(unsafe_code, reason = "exec with arguments that were laid out before the fork")]
            // SAFETY: all three live in `start`, end with zero, and their lists with a null pointer.
            unsafe {
                libc::execve(self.launch.program.as_ptr(), self.arguments, self.variables);
            }
            return (ChildStep::Program, last_error());
        };
        refused
    }

    fn prepare(&self) -> Result<(), (ChildStep, Errno)> {
        let at = |step| move |error| (step, error);
        for (number, stream) in (0..).zip(&self.launch.streams) {
            put(stream, number).map_err(at(ChildStep::Streams))?;
        }
        setpgid(None, None).map_err(at(ChildStep::Signals))?;
        rustix::process::chdir(&*self.launch.directory).map_err(at(ChildStep::Directory))?;
        self.launch
            .entry
            .enter()
            .map_err(|error| (ChildStep::Entry, Errno::from_io_error(&error).unwrap_or(Errno::PERM)))?;
        signals::release().map_err(at(ChildStep::Signals))?;
        if self.launch.low {
            // Not before: whoever starts it waits for its exec, which is all that is left.
            priority::lower_child();
        }
        Ok(())
    }
}

/// Makes a descriptor known under the number of a standard stream.
fn put(stream: &OwnedFd, number: RawFd) -> Result<(), Errno> {
    #[expect(unsafe_code, reason = "the target is a number and has no owner here")]
    // SAFETY: the table of descriptors is the child's own.
    let done = unsafe { libc::dup2(stream.as_raw_fd(), number) };
    if done < 0 { Err(last_error()) } else { Ok(()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::PERM)
}

#[cfg(test)]
mod tests;
