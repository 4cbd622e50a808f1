//! Sockets that listen from the start: bound here, or given by whoever has started us, which is how a service manager
//! keeps connections waiting while nobody runs (`LISTEN_FDS`, sd_listen_fds(3)).

use std::{
    collections::BTreeMap,
    env, io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{FromRawFd as _, OwnedFd, RawFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
};

use rustix::{
    io::{FdFlags, fcntl_setfd, ioctl_fionbio},
    net::{self, AddressFamily, SocketType, sockopt},
};

/// The first descriptor that a service manager gives. Source: sd_listen_fds(3).
const FIRST: RawFd = 3;

/// Most descriptors that are looked at: there are five names.
const MOST: RawFd = 16;

/// Connections that may wait to be accepted, as far as the kernel allows (`net.core.somaxconn`, 4096 since Linux 5.4). The
/// standard library's 128 is less than a burst; a load balancer that comes with all its connections at once fits in.
pub(crate) const BACKLOG: i32 = 4_096;

/// The variable that names the sockets which a process has kept for what it becomes: its number, then names and
/// descriptors.
pub(crate) const HANDED: &str = "PAR_HANDED";

/// The name, beside those of sockets, of the program that it was.
pub(crate) const FORMER: &str = "former";

/// Ends that variable if this process has made the file of the local socket.
pub(crate) const OWNS_FILE: &str = ";own_file";

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Use {
    /// The HTTP port.
    Http,
    /// The gRPC port.
    A2a,
    /// The metrics port.
    Metrics,
    /// The UI port of single mode.
    Ui,
    /// `PAR_SOCKET`.
    Local,
}

impl Use {
    /// Each once.
    pub(crate) const ALL: [Self; 5] = [Self::Http, Self::A2a, Self::Metrics, Self::Ui, Self::Local];

    /// Its name: `FileDescriptorName=` of a socket unit.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::A2a => "a2a",
            Self::Metrics => "metrics",
            Self::Ui => "ui",
            Self::Local => "local",
        }
    }

    /// The use of a name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// Why sockets that were given cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GivenError {
    /// `LISTEN_FDS` is no number, or one that is too large.
    #[error("LISTEN_FDS is {0:?}, which is no number of sockets")]
    Count(String),
    /// Nobody can say what it is for.
    #[error(
        "the socket {name:?} that was given has no use: name them (FileDescriptorName=) http, a2a, metrics, ui or local"
    )]
    Name {
        /// The name that it has.
        name: String,
    },
    /// Two of one name.
    #[error("two sockets named {0:?} were given")]
    Twice(&'static str),
    /// It is something else.
    #[error("what was given as {name} is no socket that listens for {wanted}")]
    Kind {
        /// Its name.
        name: &'static str,
        /// What it would have to be.
        wanted: &'static str,
    },
    /// The kernel does not say what it is.
    #[error("what was given as {name} cannot be used")]
    Unusable {
        /// Its name.
        name: &'static str,
        #[source]
        source: io::Error,
    },
}

/// Sockets that were given, by their use. Those that nobody takes are closed when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Given {
    sockets: BTreeMap<Use, OwnedFd>,
    /// Whether the file of the local socket is ours to take away.
    owns_file: bool,
    /// The program that this process was when it kept them.
    former: Option<OwnedFd>,
    is_kept: bool,
}

impl Given {
    /// Those that the service manager says it has given to this process. To be called once, before anything is started:
    /// descriptors are ours from then on, and children do not get them.
    ///
    /// # Errors
    /// Something was given that is of no use here: whoever has written the unit means something else.
    pub(crate) fn by_service_manager() -> Result<Self, GivenError> {
        let told = |name| env::var(name).ok();
        let (pid, count, names) = (told("LISTEN_PID"), told("LISTEN_FDS"), told("LISTEN_FDNAMES"));
        let names = names_of(std::process::id(), pid.as_deref(), count.as_deref(), names.as_deref())?;
        let mut given = BTreeMap::new();
        for (descriptor, place) in (FIRST..).zip(names) {
            let socket = adopted(descriptor);
            if given.insert(place, listening(place, socket)?).is_some() {
                return Err(GivenError::Twice(place.name()));
            }
        }
        Ok(Self { sockets: given, ..Self::default() })
    }

    /// Those that this process has kept for itself when it became what it is.
    ///
    /// # Errors
    /// They are not what they were said to be.
    pub(crate) fn by_former_self() -> Result<Self, GivenError> {
        let handed = env::var(HANDED).unwrap_or_default();
        let Some(Handed { sockets, former }) = handed_to(std::process::id(), &handed) else {
            return Ok(Self::default());
        };
        let former = former.map(adopted);
        if let Some(former) = &former {
            fcntl_setfd(former, FdFlags::CLOEXEC)
                .map_err(|error| GivenError::Unusable { name: FORMER, source: error.into() })?;
        }
        let sockets = sockets
            .into_iter()
            .map(|(place, descriptor)| Ok((place, listening(place, adopted(descriptor))?)));
        let sockets = sockets.collect::<Result<_, _>>()?;
        Ok(Self { sockets, owns_file: handed.ends_with(OWNS_FILE), former, is_kept: true })
    }

    /// Whether this process has kept them for itself: then connections have been waiting since it was another one.
    pub(crate) const fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Takes out the program that this process was.
    pub(crate) fn former(&mut self) -> Option<OwnedFd> {
        self.former.take()
    }

    /// One more descriptor for each socket.
    pub(crate) fn copies(&self) -> io::Result<BTreeMap<Use, OwnedFd>> {
        self.sockets.iter().map(|(place, socket)| Ok((*place, socket.try_clone()?))).collect()
    }

    /// Takes the socket for a use out.
    pub(crate) fn take(&mut self, place: Use) -> Option<OwnedFd> {
        self.sockets.remove(&place)
    }

    /// The address of the one for a use; none: it was not given, or has none.
    pub(crate) fn address(&self, place: Use) -> Option<SocketAddr> {
        let named = net::getsockname(self.sockets.get(&place)?).ok()?;
        SocketAddr::try_from(named).ok()
    }

    /// The file of the one for a use; none: it was not given, or has none.
    pub(crate) fn path(&self, place: Use) -> Option<PathBuf> {
        let named = UnixListener::from(self.sockets.get(&place)?.try_clone().ok()?).local_addr().ok()?;
        named.as_pathname().map(Path::to_path_buf)
    }

    /// Whether the file of the local socket is ours to take away: this process has made it when it was another one.
    pub(crate) const fn owns_file(&self) -> bool {
        self.owns_file
    }

    /// What there is, for people.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.sockets.keys().map(|place| place.name()).collect()
    }
}

/// A port that listens, taken out of what was given or bound.
///
/// # Errors
/// Of the kernel: the port is taken, or may not be used.
pub(crate) fn port(given: &mut Given, place: Use, address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = match given.take(place) {
        Some(socket) => socket,
        None => {
            let socket = OwnedFd::from(TcpListener::bind(address)?);
            net::listen(&socket, BACKLOG)?;
            socket
        }
    };
    ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// What each descriptor is for. Pure.
fn names_of(
    own: u32,
    pid: Option<&str>,
    count: Option<&str>,
    words: Option<&str>,
) -> Result<Vec<Use>, GivenError> {
    let Some(count) = count.filter(|_| pid == Some(&own.to_string())) else {
        // None, or meant for a parent of ours that has left the variables behind.
        return Ok(Vec::new());
    };
    let count = match count.parse::<RawFd>() {
        Ok(number) if (0..=MOST).contains(&number) => number,
        Ok(_) | Err(_) => return Err(GivenError::Count(count.to_owned())),
    };
    let mut told = words.unwrap_or_default().split(':');
    let uses = (0..count).map(|_| {
        let name = told.next().unwrap_or_default();
        match Use::of(name) {
            Some(place) => Ok(place),
            // A unit without names: what would one socket be for, if not for this?
            None if count == 1 => Ok(Use::Http),
            None => Err(GivenError::Name { name: name.to_owned() }),
        }
    });
    uses.collect()
}

/// Descriptors that this process has kept for itself.
#[derive(Debug, PartialEq, Eq)]
struct Handed {
    sockets: BTreeMap<Use, RawFd>,
    former: Option<RawFd>,
}

/// What was kept, if this process has kept it: each use once, with its descriptor. Pure.
fn handed_to(own: u32, handed: &str) -> Option<Handed> {
    let (pid, kept) = handed.split_once(';')?;
    if pid != own.to_string() {
        return None;
    }
    let named = kept.split(';').filter_map(|text| {
        let (name, descriptor) = text.split_once('=')?;
        Some((name, descriptor.parse().ok().filter(|descriptor| *descriptor >= FIRST)?))
    });
    let mut handed = Handed { sockets: BTreeMap::new(), former: None };
    for (name, descriptor) in named {
        match Use::of(name) {
            Some(place) => {
                handed.sockets.insert(place, descriptor);
            }
            None if name == FORMER => handed.former = Some(descriptor),
            // A newer version may keep more.
            None => {}
        }
    }
    Some(handed)
}

#[expect(unsafe_code, reason = "a descriptor that was inherited is a number until it is owned")]
fn adopted(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the service manager, or this process before it became what it is, has opened it for us, says so by our own
    // number, and nothing here has taken it: this is asked once, before anything else opens or closes descriptors.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// The socket, if it listens for what it is meant for.
fn listening(place: Use, socket: OwnedFd) -> Result<OwnedFd, GivenError> {
    let name = place.name();
    let unusable = |source: rustix::io::Errno| GivenError::Unusable { name, source: source.into() };
    fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(unusable)?;
    let family = net::getsockname(&socket).map_err(unusable)?.address_family();
    let listens = sockopt::socket_acceptconn(&socket).map_err(unusable)?
        && sockopt::socket_type(&socket).map_err(unusable)? == SocketType::STREAM;
    let (fits, wanted) = match place {
        Use::Http | Use::A2a | Use::Metrics | Use::Ui => {
            (matches!(family, AddressFamily::INET | AddressFamily::INET6), "TCP")
        }
        Use::Local => (family == AddressFamily::UNIX, "Unix connections"),
    };
    if !listens || !fits {
        return Err(GivenError::Kind { name, wanted });
    }
    ioctl_fionbio(&socket, true).map_err(unusable)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pid: &str, count: &str, names: &str) -> Result<Vec<Use>, String> {
        names_of(7, Some(pid), Some(count), Some(names)).map_err(|error| error.to_string())
    }

    #[test]
    fn sockets_are_told_apart_by_their_names_and_one_alone_needs_none() {
        assert_eq!(told("7", "3", "metrics:http:local"), Ok(vec![Use::Metrics, Use::Http, Use::Local]));
        assert_eq!(told("7", "1", "par.socket"), Ok(vec![Use::Http]));
        assert_eq!(told("7", "1", ""), Ok(vec![Use::Http]));
        assert_eq!(told("8", "3", "metrics:http:local"), Ok(vec![]), "they are somebody else's");
        assert_eq!(names_of(7, None, None, None).unwrap().len(), 0);
        assert!(told("7", "2", "http:htp").unwrap_err().contains("\"htp\""));
        assert!(told("7", "2", "http").unwrap_err().contains("FileDescriptorName"));
        for count in ["", "-1", "17", "x"] {
            assert!(told("7", count, "http").unwrap_err().contains("LISTEN_FDS"), "{count}");
        }
        for place in Use::ALL {
            assert_eq!(Use::of(place.name()), Some(place));
        }
    }

    #[test]
    fn sockets_that_were_kept_belong_to_the_process_that_has_kept_them() {
        let kept = handed_to(7, "7;http=12;local=9;htp=3;metrics=x;a2a=1;former=8;own_file");
        let sockets = BTreeMap::from([(Use::Http, 12), (Use::Local, 9)]);
        assert_eq!(kept, Some(Handed { sockets, former: Some(8) }));
        assert_eq!((handed_to(8, "7;http=12"), handed_to(7, "")), (None, None));
    }

    #[test]
    fn only_sockets_that_listen_for_the_right_thing_are_taken() {
        let tcp = || TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let connected = std::net::TcpStream::connect(tcp().local_addr().unwrap());
        drop(connected);
        let folder = tempfile::tempdir().unwrap();
        let unix = std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(listening(Use::Http, tcp().into()).is_ok());
        for (place, socket) in
            [(Use::Local, tcp().into()), (Use::Metrics, unix.into()), (Use::Local, one.into())]
        {
            assert!(matches!(listening(place, socket), Err(GivenError::Kind { .. })), "{place:?}");
        }
        let file = tempfile::tempfile().unwrap();
        assert!(matches!(listening(Use::Http, file.into()), Err(GivenError::Unusable { .. })));
    }
}
