//! The template of packages that a loader runs: a small process of our own that starts a program for each worker.
//!
//! A language that cannot fork, or be handed descriptors, is served by it all the same: whoever is started finds its
//! sockets under fixed numbers. To `par` it is a template like any other: it speaks on the control socket, reports ends
//! of workers, and takes them along when it goes. It has one thread and runs nothing of the package.

use std::{
    fs::File,
    io::{self, Seek, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, ExitCode, Stdio},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{MemfdFlags, memfd_create},
    io::fcntl_dupfd_cloexec,
    process::{Pid, PidfdFlags, Signal, getpgrp, getpid, kill_current_process_group, pidfd_open},
};
use serde_json::{Value, json};

use super::sandbox::Own;

mod control;

use control::{Message, Peer};

/// Where a worker finds main, side and journal, in the order in which they come, and then its `init`.
const FIRST: RawFd = 3;

/// How many come for a worker.
const GIVEN: usize = 5;

/// Descriptors below this one are given to workers; ours are beyond, so that none is in the way of another.
const OURS: RawFd = 10;

/// Longest description of an error on the control socket.
const MESSAGE: usize = 1024;

/// Serves the control socket on descriptor 0 until its end. For the program that [`crate::package::Loaders`] names.
pub fn nursery() -> ExitCode {
    match Nursery::open().and_then(|mut nursery| nursery.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if this fails.
            writeln!(io::stderr(), "par nursery: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

struct Nursery {
    peer: Peer,
    command: Vec<String>,
    init: Vec<u8>,
    own: Own,
    workers: Vec<Running>,
    /// Keep the numbers below [`OURS`] taken.
    _reserved: Vec<OwnedFd>,
}

struct Running {
    child: Child,
    ended: OwnedFd,
}

impl Nursery {
    /// Takes the first message.
    fn open() -> io::Result<Self> {
        let reserved = reserve()?;
        let peer = Peer::new(fcntl_dupfd_cloexec(io::stdin(), OURS)?);
        let first = peer.receive()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let Message { name, body: Value::Object(mut init), descriptors } = first else {
            return Err(io::Error::other("the first message is no object"));
        };
        if name != "init" {
            return Err(io::Error::other("the first message is not init"));
        }
        let command = words(init.remove("loader"))?;
        let sandbox = init.remove("sandbox").unwrap_or_default();
        let filter = sandbox.get("worker").and_then(Value::as_str);
        let own = Own::new(descriptors.into_iter().next(), filter)?;
        let init = serde_json::to_vec(&Value::Object(init))?;
        let ready = json!({ "ready": { "pid": getpid().as_raw_nonzero(), "apart": own.apart() } });
        peer.send(&ready)?;
        Ok(Self { peer, command, init, own, workers: Vec::new(), _reserved: reserved })
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            let (asked, ended) = self.wait()?;
            for place in ended.into_iter().rev() {
                let mut gone = self.workers.swap_remove(place);
                if let Some(status) = gone.child.try_wait()? {
                    self.peer.send(&json!({ "exited": gone.child.id(), "status": status.into_raw() }))?;
                }
            }
            if asked {
                match self.peer.receive()? {
                    Some(message) => self.obey(message)?,
                    // `par` is gone.
                    None => return self.end(),
                }
            }
        }
    }

    /// Whether there is a message, and which workers have ended, in order.
    fn wait(&self) -> io::Result<(bool, Vec<usize>)> {
        let sources =
            std::iter::once(self.peer.as_fd()).chain(self.workers.iter().map(|one| one.ended.as_fd()));
        let mut polled: Vec<PollFd<'_>> =
            sources.map(|fd: BorrowedFd<'_>| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        loop {
            match poll(&mut polled, None) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut due = polled.iter().map(|one| !one.revents().is_empty());
        let asked = due.next().unwrap_or_default();
        Ok((asked, due.enumerate().filter(|(_, due)| *due).map(|(place, _)| place).collect()))
    }

    fn obey(&mut self, message: Message) -> io::Result<()> {
        let Message { name, body, descriptors } = message;
        let (number, started) = match name.as_str() {
            "fork" => (body, self.start(descriptors, None)),
            "alone" => self.start_alone(body, descriptors),
            "primary" => (body, Err(io::Error::other("a loader's packages have no surfaces"))),
            other => return Err(io::Error::other(format!("the message {other} means nothing"))),
        };
        let answer = match started {
            Ok(running) => {
                let pid = running.child.id();
                self.workers.push(running);
                json!({ "forked": number, "pid": pid })
            }
            Err(error) => {
                let text: String = error.to_string().chars().take(MESSAGE).collect();
                json!({ "fork_failed": number, "message": text })
            }
        };
        self.peer.send(&answer)
    }

    /// Starts a worker for one session. Gives the number by which it was asked for, too.
    fn start_alone(&self, mut body: Value, mut descriptors: Vec<OwnedFd>) -> (Value, io::Result<Running>) {
        let layer = if descriptors.len() > GIVEN { descriptors.pop() } else { None };
        let mut part = |name| body.get_mut(name).map(Value::take).unwrap_or_default();
        let (number, temporary) = (part("number"), part("temporary"));
        let Value::String(temporary) = temporary else {
            return (number, Err(io::Error::other("a worker of its own came without a directory")));
        };
        (number, self.start(descriptors, Some((temporary, layer))))
    }

    /// Starts a worker with what came for it: main, side, journal, stdout, stderr; and for one of its own its temporary
    /// directory, with the layer that leaves it nothing else.
    fn start(
        &self,
        descriptors: Vec<OwnedFd>,
        alone: Option<(String, Option<OwnedFd>)>,
    ) -> io::Result<Running> {
        let [main, side, journal, stdout, stderr] = <[OwnedFd; GIVEN]>::try_from(descriptors)
            .map_err(|other| io::Error::other(format!("{} descriptors came for a worker", other.len())))?;
        let init = self.described()?;
        let given = [main, side, journal, init];
        let (temporary, layer) = alone.unzip();
        let own = match layer.flatten() {
            Some(layer) => self.own.narrowed(layer),
            None => self.own.try_clone()?,
        };
        let (program, arguments) = self.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        if let Some(temporary) = temporary {
            command.env("TMPDIR", &temporary).env("HOME", temporary);
        }
        let enter = move || {
            for (number, descriptor) in (FIRST..).zip(&given) {
                put(descriptor, number)?;
            }
            own.enter()
        };
        #[expect(unsafe_code, reason = "Command::pre_exec is the only hook between fork and exec")]
        // SAFETY: the closure runs in the forked child before exec. It makes system calls on values made before
        // the fork, and this process has one thread.
        unsafe {
            command.pre_exec(enter);
        }
        let child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("the loader {program} cannot be started: {error}"))
        })?;
        let pid = Pid::from_child(&child);
        Ok(Running { child, ended: pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// A file with what the worker is to know, to be read from its beginning.
    fn described(&self) -> io::Result<OwnedFd> {
        let mut file = File::from(memfd_create("par-init", MemfdFlags::CLOEXEC)?);
        file.write_all(&self.init)?;
        file.rewind()?;
        Ok(file.into())
    }

    /// Takes the whole process group along, if it is ours to end.
    fn end(&mut self) -> io::Result<()> {
        if getpgrp() == getpid() {
            kill_current_process_group(Signal::KILL)?;
        }
        for mut one in self.workers.drain(..) {
            one.child.kill()?;
        }
        Ok(())
    }
}

/// Takes all numbers below [`OURS`] that are free: what is opened later is not in the way of what workers are given.
fn reserve() -> io::Result<Vec<OwnedFd>> {
    let mut taken = vec![OwnedFd::from(File::open("/dev/null")?)];
    while let Some(last) = taken.last().filter(|last| last.as_raw_fd() < OURS) {
        let next = fcntl_dupfd_cloexec(last, FIRST)?;
        taken.push(next);
    }
    Ok(taken)
}

/// Makes a descriptor known under a number to the program that follows.
fn put(descriptor: &OwnedFd, number: RawFd) -> io::Result<()> {
    #[expect(unsafe_code, reason = "the target is a number and has no owner")]
    // SAFETY: both are numbers; what was open under the second one is a placeholder of ours that nobody uses.
    let done = unsafe { libc::dup2(descriptor.as_raw_fd(), number) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn words(loader: Option<Value>) -> io::Result<Vec<String>> {
    serde_json::from_value(loader.unwrap_or_default()).map_err(io::Error::from)
}
