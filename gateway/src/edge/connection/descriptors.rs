//! Descriptors for connections: without one, nothing can be accepted, and no agent can be started either.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors that are not for connections: pipes and sockets of workers, packages, logs. A hundred packages
/// with ten workers each need three quarters of it.
const OTHERS: usize = 8_192;

/// How many of `wanted` connections can be had. The soft limit of the process is raised as far as that needs
/// and the hard one allows; if that is less, connections get three quarters.
pub(super) fn room(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let needed = wanted.saturating_add(OTHERS);
    let had = limit.current.map_or(usize::MAX, size);
    if had >= needed {
        return wanted;
    }
    let most = limit.maximum.map_or(usize::MAX, size);
    let raised = needed.min(most);
    let mut wider = limit;
    wider.current = Some(raised as u64);
    let got = if setrlimit(Resource::Nofile, wider).is_ok() { raised } else { had };
    fitting(wanted, got)
}

/// How many of `wanted` connections a process with our limits will have.
pub(crate) fn most(wanted: usize) -> usize {
    fitting(wanted, getrlimit(Resource::Nofile).maximum.map_or(usize::MAX, size))
}

fn size(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// How many connections fit into so many descriptors.
fn fitting(wanted: usize, descriptors: usize) -> usize {
    if descriptors >= wanted.saturating_add(OTHERS) { wanted } else { wanted.min(descriptors / 4 * 3).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_rest() {
        assert_eq!(fitting(10_000, 20_000), 10_000);
        assert_eq!(fitting(10_000, 1_024), 768);
        assert_eq!(fitting(100, 1_024), 100);
        assert_eq!(fitting(10, 0), 1);
        assert_eq!(fitting(usize::MAX, 4_096), 3_072);
    }
}
