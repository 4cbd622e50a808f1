//! The layers that a worker of a loader enters between its fork and its program.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use seccompiler::BpfProgram;

use super::filter;

/// What is left of the sandbox to a worker.
#[derive(Debug)]
pub(crate) struct Own {
    layer: Option<OwnedFd>,
    filter: Option<BpfProgram>,
}

impl Own {
    /// A Landlock ruleset, and a seccomp program in hexadecimal.
    pub(crate) fn new(layer: Option<OwnedFd>, filter: Option<&str>) -> io::Result<Self> {
        Ok(Self { layer, filter: filter.map(filter::read).transpose()? })
    }

    /// Whether workers are confined from one another.
    pub(crate) fn apart(&self) -> bool {
        self.layer.is_some()
    }

    /// The same for one worker.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let layer = self.layer.as_ref().map(OwnedFd::try_clone).transpose()?;
        Ok(Self { layer, filter: self.filter.clone() })
    }

    /// The same with another layer in the place of its own.
    pub(crate) fn narrowed(&self, layer: OwnedFd) -> Self {
        Self { layer: Some(layer), filter: self.filter.clone() }
    }

    /// Enters. Makes system calls and nothing else: it is called between fork and exec.
    pub(crate) fn enter(&self) -> io::Result<()> {
        if let Some(layer) = &self.layer {
            restrict(layer)?;
        }
        match &self.filter {
            None => Ok(()),
            Some(filter) => {
                seccompiler::apply_filter(filter).map_err(|_| io::Error::from_raw_os_error(libc::ENOSYS))
            }
        }
    }
}

/// Adds a Landlock ruleset to this process for good.
pub(super) fn restrict(rules: &OwnedFd) -> io::Result<()> {
    #[expect(
        unsafe_code,
        reason = "the crate enters rulesets that it has made itself, and gives them up with that"
    )]
    // SAFETY: the call takes two numbers and a descriptor that is open, and confines this process alone.
    let entered = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) };
    if entered == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
