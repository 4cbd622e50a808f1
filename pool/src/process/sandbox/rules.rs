//! Landlock: grants and ports enter, a ruleset leaves that the kernel adds to a process for good.

use std::{io, os::fd::OwnedFd};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};

use super::paths::{Access, Grant};

/// The newest interface that we know how to use; older kernels do what they can.
const NEWEST: ABI = ABI::V9;

/// What a package may do with TCP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Network {
    /// Ports that it may connect to; `None`: any.
    pub(super) connect: Option<Vec<u16>>,
    /// Ports that it may listen on; `None`: any.
    pub(super) bind: Option<Vec<u16>>,
}

impl Network {
    /// No limits.
    pub(super) const ANY: Self = Self { connect: None, bind: None };
}

fn rights(access: Access) -> BitFlags<AccessFs> {
    match access {
        Access::Run => AccessFs::Execute | AccessFs::ReadFile | AccessFs::ReadDir,
        Access::Read => AccessFs::ReadFile | AccessFs::ReadDir,
        Access::Known => AccessFs::ReadFile.into(),
        Access::Device => {
            AccessFs::ReadFile
                | AccessFs::ReadDir
                | AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::IoctlDev
        }
        Access::Share => {
            AccessFs::ReadFile
                | AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::MakeReg
                | AccessFs::RemoveFile
        }
        Access::Write => AccessFs::from_all(NEWEST) & !(AccessFs::MakeChar | AccessFs::MakeBlock),
    }
}

fn denied(error: RulesetError) -> io::Error {
    io::Error::other(error)
}

/// Everything but what is granted is refused: files, ports where they are limited, signals to processes
/// outside and abstract sockets that were made outside.
pub(super) fn rules(grants: &[Grant], network: &Network) -> io::Result<RulesetCreated> {
    let mut limited = BitFlags::<AccessNet>::EMPTY;
    if network.connect.is_some() {
        limited |= AccessNet::ConnectTcp;
    }
    if network.bind.is_some() {
        limited |= AccessNet::BindTcp;
    }
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
        .and_then(|rules| if limited.is_empty() { Ok(rules) } else { rules.handle_access(limited) })
        .and_then(Ruleset::create)
        .map_err(denied)?;
    for grant in grants {
        // What is not there, or went away since it was listed, grants nothing.
        let Ok(fd) = PathFd::new(&grant.path) else { continue };
        let all = rights(grant.access);
        let rights = if grant.path.is_dir() { all } else { all & AccessFs::from_file(NEWEST) };
        rules = rules.add_rule(PathBeneath::new(fd, rights)).map_err(denied)?;
    }
    let connect = network.connect.iter().flatten().map(|port| NetPort::new(*port, AccessNet::ConnectTcp));
    let bind = network.bind.iter().flatten().map(|port| NetPort::new(*port, AccessNet::BindTcp));
    for rule in connect.chain(bind) {
        rules = rules.add_rule(rule).map_err(denied)?;
    }
    Ok(rules)
}

/// A domain that takes nothing away but what processes outside of it offer: signals to them, abstract sockets
/// of theirs, and looking into them. `None` where the kernel has no Landlock.
pub(super) fn domain() -> io::Result<Option<OwnedFd>> {
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        // A ruleset must be about something: making block devices is refused to everybody already.
        .handle_access(AccessFs::MakeBlock)
        .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .map_err(denied)?;
    Ok(rules.into())
}
