//! The descriptors that a template and a worker are given, made close-on-exec from the start.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use par_proto::frames::JOURNAL_SIZE;
use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    pipe::{PipeFlags, pipe_with},
};

/// Our ends of a worker's descriptors.
#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) main: UnixStream,
    pub(crate) side: UnixStream,
    pub(crate) journal: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// The worker's ends, in the order in which they are sent: main, side, journal, stdout, stderr.
#[derive(Debug)]
pub(crate) struct Theirs(pub(crate) [OwnedFd; 5]);

/// Makes the five descriptors of one worker.
pub(crate) fn worker() -> io::Result<(Ours, Theirs)> {
    let (main, their_main) = UnixStream::pair()?;
    let (side, their_side) = UnixStream::pair()?;
    main.set_nonblocking(true)?;
    side.set_nonblocking(true)?;
    let journal = memfd_create("par-journal", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&journal, JOURNAL_SIZE as u64)?;
    let their_journal = journal.as_fd().try_clone_to_owned()?;
    let (stdout, their_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr, their_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((
        Ours { main, side, journal, stdout, stderr },
        Theirs([their_main.into(), their_side.into(), their_journal, their_stdout, their_stderr]),
    ))
}

/// Makes the control socket of a template: ours is non-blocking, theirs becomes its descriptor 0.
pub(crate) fn control() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}
