//! Who is at the other end of a Unix socket, by the kernel's word: a connection in, whether it may stay out.

use std::fs;

use tokio::net::{UnixStream, unix::UCred};

/// Why somebody may not speak on a socket of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// The kernel does not say who it is: it has left, or lives in a namespace of processes that is not ours.
    Unknown,
    /// Another user.
    User,
    /// The same user in another group: what a program gets that was given away with its owner's id.
    Group,
    /// A descendant of ours, that is, an agent or something that one has started.
    Agent,
}

impl Stranger {
    /// As in log lines.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::User => "other_user",
            Self::Group => "other_group",
            Self::Agent => "agent",
        }
    }
}

/// What is decided about.
#[derive(Debug, Clone, Copy)]
struct Peer {
    pid: u32,
    user: u32,
    group: u32,
}

/// Whether `par` itself has connected.
pub(crate) fn is_ourselves(stream: &UnixStream) -> bool {
    credentials(stream).is_some_and(|peer| peer.pid == std::process::id())
}

/// Lets in who runs as the same user in the same group, unless it is an agent.
///
/// # Errors
/// Why somebody else is not let in.
pub(crate) fn admit(stream: &UnixStream) -> Result<(), Stranger> {
    let peer = credentials(stream).ok_or(Stranger::Unknown)?;
    let own = Peer {
        pid: std::process::id(),
        user: rustix::process::geteuid().as_raw(),
        group: rustix::process::getegid().as_raw(),
    };
    judge(own, peer, parent)
}

fn credentials(stream: &UnixStream) -> Option<Peer> {
    let found: UCred = stream.peer_cred().ok()?;
    let pid = u32::try_from(found.pid()?).ok().filter(|pid| *pid != 0)?;
    Some(Peer { pid, user: found.uid(), group: found.gid() })
}

fn judge(own: Peer, peer: Peer, parent: impl Fn(u32) -> Option<u32>) -> Result<(), Stranger> {
    if peer.user != own.user {
        Err(Stranger::User)
    } else if peer.group != own.group {
        Err(Stranger::Group)
    } else if descends(peer.pid, own.pid, parent) {
        Err(Stranger::Agent)
    } else {
        Ok(())
    }
}

/// Whether a process has `ancestor` above it. One that cannot be looked at counts as a descendant: it may be one that
/// has just ended.
fn descends(pid: u32, ancestor: u32, parent: impl Fn(u32) -> Option<u32>) -> bool {
    let mut at = pid;
    loop {
        match parent(at) {
            Some(above) if above == ancestor => return true,
            Some(0 | 1) => return false,
            Some(above) => at = above,
            None => return true,
        }
    }
}

fn parent(pid: u32) -> Option<u32> {
    if pid == 1 {
        return Some(0);
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything, spaces and parentheses included.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parents(pid: u32) -> Option<u32> {
        match pid {
            30 => Some(20),
            20 => Some(10),
            10 | 5 => Some(1),
            _ => None,
        }
    }

    #[test]
    fn descendants_of_ours_are_recognised_through_any_number_of_parents() {
        assert!(descends(30, 10, parents));
        assert!(descends(20, 10, parents));
        assert!(!descends(5, 10, parents));
        assert!(descends(99, 10, parents), "a process that is gone is refused");
    }

    #[test]
    fn the_same_user_in_the_same_group_is_let_in_and_nobody_else() {
        let own = Peer { pid: 10, user: 1000, group: 100 };
        for (pid, user, group, wanted) in [
            (5, 1000, 100, Ok(())),
            (5, 1001, 100, Err(Stranger::User)),
            (5, 0, 100, Err(Stranger::User)),
            (5, 1000, 0, Err(Stranger::Group)),
            (30, 1000, 100, Err(Stranger::Agent)),
            (99, 1000, 100, Err(Stranger::Agent)),
        ] {
            assert_eq!(judge(own, Peer { pid, user, group }, parents), wanted, "{pid} {user} {group}");
        }
    }

    #[test]
    fn we_are_a_child_of_our_parent() {
        assert_eq!(parent(std::process::id()), Some(std::os::unix::process::parent_id()));
    }

    #[tokio::test]
    async fn our_own_connection_is_our_own_and_that_of_a_neighbour() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(is_ourselves(&one));
        assert_eq!(admit(&one), Ok(()), "who asks is no descendant of itself");
    }
}
