//! The way in: what a child does to itself between fork and exec, in an order in which each step can still be
//! taken.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::Command,
    sync::Arc,
};

use rustix::{
    fs::Mode,
    io::Errno,
    process::{Pid, Signal, getppid, set_parent_process_death_signal, umask},
    thread::{
        CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
        set_capabilities, set_no_new_privs,
    },
};
use seccompiler::BpfProgram;

use super::{limits::Limits, own};

/// The first descriptor that is not one of the three standard ones.
const FIRST_INHERITED: libc::c_uint = 3;

/// What a child enters. Made before it is, and only read by it: its memory may be ours.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The process with whose thread that started it it dies; `None`: it lives on.
    pub(super) parent: Option<Pid>,
    /// `None`: nothing confines it.
    pub(super) walls: Option<Walls>,
}

/// What confines a child.
#[derive(Debug)]
pub(super) struct Walls {
    /// Whether files that it makes are for its user alone.
    pub(super) private_files: bool,
    /// The door of the group that it goes into; `None` where none was delegated.
    pub(super) group: Option<Arc<File>>,
    pub(super) limits: Limits,
    /// `None` where the kernel has no Landlock.
    pub(super) rules: Option<OwnedFd>,
    /// Empty where the kernel has no seccomp.
    pub(super) filters: Vec<BpfProgram>,
}

impl Entry {
    /// Nothing but the death of its parent, if there is one.
    pub(crate) const fn free(parent: Option<Pid>) -> Self {
        Self { parent, walls: None }
    }

    /// Makes the command's child enter, after a fork of ours.
    pub(super) fn prepare(self, command: &mut Command) {
        #[expect(unsafe_code, reason = "Command::pre_exec is the only hook between fork and exec")]
        // SAFETY: the closure runs in the forked child before exec. It makes system calls on values made before the
        // fork, takes no lock that another thread could hold and allocates nothing.
        unsafe {
            command.pre_exec(move || self.enter());
        }
    }

    /// Enters. Makes system calls, and changes nothing that belongs to the parent: the child may run in its memory.
    pub(crate) fn enter(&self) -> io::Result<()> {
        if let Some(parent) = self.parent {
            set_parent_process_death_signal(Some(Signal::TERM))?;
            // Whoever was gone before that sends nothing.
            if getppid() != Some(parent) {
                return Err(Errno::SRCH.into());
            }
        }
        self.walls.as_ref().map_or(Ok(()), Walls::enter)
    }
}

impl Walls {
    fn enter(&self) -> io::Result<()> {
        if self.private_files {
            umask(Mode::RWXG | Mode::RWXO);
        }
        if let Some(door) = &self.group {
            // Whoever writes zero names itself.
            rustix::io::write(door, b"0")?;
        }
        close_on_exec()?;
        self.limits.set()?;
        // Whoever may not take them from the bounding set does not have them to give.
        for number in 0..u64::BITS {
            remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)).ok();
        }
        clear_ambient_capability_set()?;
        set_no_new_privs(true)?;
        if let Some(rules) = &self.rules {
            own::restrict(rules)?;
        }
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
        // Last: they refuse what the steps before have done.
        for filter in &self.filters {
            seccompiler::apply_filter(filter).map_err(|_| io::Error::from_raw_os_error(libc::ENOSYS))?;
        }
        Ok(())
    }
}

/// Nothing that the runtime has open survives the exec, whoever opened it and forgot to say so.
fn close_on_exec() -> io::Result<()> {
    #[expect(unsafe_code, reason = "no crate offers close_range")]
    // SAFETY: the call takes three numbers and only sets a flag of this process's own descriptors.
    let done = unsafe {
        libc::syscall(libc::SYS_close_range, FIRST_INHERITED, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
    if done == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // Older than 5.11: all that we open is marked when it is opened.
        error if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) => Ok(()),
        error => Err(error),
    }
}
