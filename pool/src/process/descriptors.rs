//! The descriptors that a template and a worker are given, made close-on-exec from the start.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    pipe::{PipeFlags, pipe_with},
};

use super::journal::Journal;

/// Our ends of a worker's descriptors.
#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) main: UnixStream,
    pub(crate) side: UnixStream,
    pub(crate) journal: Journal,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// The other ends, in the order in which they are sent: main, side, journal, stdout, stderr and, for a primary, door.
#[derive(Debug)]
pub(crate) struct Theirs(pub(crate) Vec<OwnedFd>);

/// Makes the five descriptors of one worker.
pub(crate) fn worker() -> io::Result<(Ours, Theirs)> {
    let (main, their_main) = UnixStream::pair()?;
    let (side, their_side) = UnixStream::pair()?;
    main.set_nonblocking(true)?;
    side.set_nonblocking(true)?;
    let journal = Journal::new()?;
    let their_journal = journal.as_fd().try_clone_to_owned()?;
    let (stdout, their_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr, their_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((
        Ours { main, side, journal, stdout, stderr },
        Theirs(vec![their_main.into(), their_side.into(), their_journal, their_stdout, their_stderr]),
    ))
}

/// Makes the six descriptors of a primary; the additional one of ours is the door, through which it is handed
/// connections.
pub(crate) fn primary() -> io::Result<(Ours, OwnedFd, Theirs)> {
    let (ours, Theirs(mut theirs)) = worker()?;
    let (door, their_door) = control()?;
    theirs.push(their_door);
    Ok((ours, door, Theirs(theirs)))
}

/// Makes a socket for whole messages: the control socket of a template, or a door. Ours is non-blocking.
pub(crate) fn control() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}
