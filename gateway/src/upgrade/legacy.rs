//! What one binary leaves to the next: sockets that listen, and the way back. It is told in variables that bear the number of
//! the process, which stays what it is.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{fs::MetadataExt as _, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::Command,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    net::sockopt::socket_acceptconn,
};

use crate::sockets::{FORMER, HANDED, OWNS_FILE, Use};

/// Says why the former upgrade has led back to where it began: the number of the process, then words.
const FAILED: &str = "PAR_UPGRADE_FAILED";

/// Most bytes of these words.
const TOLD: usize = 2_000;

/// What is left.
#[derive(Debug)]
pub(super) struct Legacy<'a> {
    pub(super) sockets: &'a BTreeMap<Use, OwnedFd>,
    /// Whether the file of the local socket is ours to take away.
    pub(super) owns_file: bool,
}

impl Legacy<'_> {
    /// Becomes a program that can come back to `former`. Returns only if it is none.
    pub(super) fn pass_to(&self, program: &Path, former: Option<&File>) -> io::Error {
        match self.text(former) {
            Ok(text) => execute(program, &text, None),
            Err(error) => error,
        }
    }

    /// Becomes `former`, and says there why.
    pub(super) fn return_to(&self, former: &File, reason: &str) -> io::Error {
        let text =
            fcntl_setfd(former, FdFlags::empty()).map_err(io::Error::from).and_then(|()| self.text(None));
        match text {
            Ok(text) => execute(&place(former), &text, Some(reason)),
            Err(error) => error,
        }
    }

    /// Opens the way over `exec` for everything, and says what it is. Whoever does not listen has nobody waiting.
    fn text(&self, former: Option<&File>) -> io::Result<String> {
        let mut text = std::process::id().to_string();
        for (place, socket) in self.sockets {
            if socket_acceptconn(socket)? {
                fcntl_setfd(socket, FdFlags::empty())?;
                // A text in memory takes everything.
                write!(text, ";{}={}", place.name(), socket.as_raw_fd()).ok();
            }
        }
        if let Some(former) = former {
            fcntl_setfd(former, FdFlags::empty())?;
            write!(text, ";{FORMER}={}", former.as_raw_fd()).ok();
        }
        if self.owns_file {
            text.push_str(OWNS_FILE);
        }
        Ok(text)
    }
}

/// The program that runs, also if its file was replaced.
pub(super) fn own_program() -> io::Result<File> {
    File::open("/proc/self/exe")
}

/// Why this process is what it was before, if it has tried to become something else.
pub(super) fn failed() -> Option<String> {
    told_to(std::process::id(), &env::var(FAILED).ok()?)
}

fn told_to(own: u32, told: &str) -> Option<String> {
    let (pid, reason) = told.split_once(';')?;
    (pid == own.to_string()).then(|| reason.to_owned())
}

/// Where a program is found: by its own name if that leads to it, which is what people look for in lists of processes.
fn place(program: &File) -> PathBuf {
    let link = PathBuf::from(format!("/proc/self/fd/{}", program.as_raw_fd()));
    let named = fs::read_link(&link).ok().filter(|path| {
        let (Ok(found), Ok(open)) = (fs::metadata(path), program.metadata()) else { return false };
        (found.dev(), found.ino()) == (open.dev(), open.ino())
    });
    named.unwrap_or(link)
}

fn execute(program: &Path, handed: &str, failed: Option<&str>) -> io::Error {
    let mut words = env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = words.next() {
        command.arg0(name);
    }
    command.args(words).env(HANDED, handed);
    for told in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", FAILED] {
        command.env_remove(told);
    }
    if let Some(reason) = failed {
        let end = reason.floor_char_boundary(TOLD);
        let reason = reason.get(..end).unwrap_or_default().replace('\0', "");
        command.env(FAILED, format!("{};{reason}", std::process::id()));
    }
    command.exec()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustix::io::fcntl_getfd;

    use super::*;

    #[test]
    fn what_listens_is_left_and_nothing_else() {
        let listener: OwnedFd = TcpListener::bind(("127.0.0.1", 0)).unwrap().into();
        let silent = std::os::unix::net::UnixDatagram::unbound().unwrap().into();
        let sockets = BTreeMap::from([(Use::Http, listener), (Use::Ui, silent)]);
        let text = Legacy { sockets: &sockets, owns_file: true }.text(None).unwrap();
        let (pid, number) = (std::process::id(), sockets[&Use::Http].as_raw_fd());
        assert_eq!(text, format!("{pid};http={number};own_file"));
        assert_eq!(fcntl_getfd(&sockets[&Use::Http]).unwrap(), FdFlags::empty());
        assert_eq!(fcntl_getfd(&sockets[&Use::Ui]).unwrap(), FdFlags::CLOEXEC);
    }

    #[test]
    fn a_program_is_found_by_its_name_as_long_as_it_stands_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("par");
        fs::write(&path, "old").unwrap();
        let program = File::open(&path).unwrap();
        assert_eq!(place(&program), path);
        fs::write(folder.path().join("next"), "new").unwrap();
        fs::rename(folder.path().join("next"), &path).unwrap();
        assert_eq!(fs::read_to_string(place(&program)).unwrap(), "old");
    }

    #[test]
    fn what_has_failed_is_told_to_the_process_that_has_tried() {
        assert_eq!(told_to(7, "7;it; was"), Some("it; was".to_owned()));
        assert_eq!((told_to(8, "7;it"), told_to(7, "")), (None, None));
    }
}
