//! The ports of this process: those that were given, and those that are bound here.

use std::os::fd::OwnedFd;

use anyhow::Context as _;

use crate::{
    config::Config,
    single::Reserved,
    sockets::{self, Given, Use},
};

/// What listens, or will.
#[derive(Debug)]
pub(crate) struct Ports {
    /// HTTP.
    pub(crate) http: OwnedFd,
    /// Metrics.
    pub(crate) metrics: OwnedFd,
    /// gRPC; none: it is reserved, and bound when there is an agent.
    pub(crate) a2a: Option<OwnedFd>,
    /// The UI of single mode, likewise.
    pub(crate) ui: Option<OwnedFd>,
    /// What is kept from others until then.
    pub(crate) reserved: Reserved,
}

impl Ports {
    /// Takes what was given and binds the rest. Nobody is answered yet.
    ///
    /// # Errors
    /// The address that cannot be had.
    pub(crate) fn open(config: &Config, given: &mut Given) -> anyhow::Result<Self> {
        let mut port = |place, address| {
            sockets::port(given, place, address).with_context(|| format!("listening on {address}"))
        };
        let (http, metrics) = (port(Use::Http, config.http)?, port(Use::Metrics, config.metrics)?);
        // One agent's ports listen when there is an agent, unless somebody has them listen already.
        let (a2a, ui) = match &config.single {
            None => (Some(port(Use::A2a, config.a2a)?), None),
            Some(_) => (given.take(Use::A2a), given.take(Use::Ui)),
        };
        let later = config
            .single
            .iter()
            .flat_map(|single| [a2a.is_none().then_some(config.a2a), ui.is_none().then_some(single.ui)]);
        let later: Vec<_> = later.flatten().collect();
        let reserved = Reserved::bind(&later)
            .map_err(|(address, error)| anyhow::Error::new(error).context(format!("reserving {address}")))?;
        Ok(Self { http, metrics, a2a, ui, reserved })
    }
}

/// What was given listens where it does, whatever is configured.
pub(crate) fn follow(config: &mut Config, given: &Given) {
    if !given.names().is_empty() {
        tracing::info!(event = "sockets_given", names = ?given.names());
    }
    for (place, address) in
        [(Use::Http, &mut config.http), (Use::A2a, &mut config.a2a), (Use::Metrics, &mut config.metrics)]
    {
        *address = given.address(place).unwrap_or(*address);
    }
    if let (Some(single), Some(address)) = (&mut config.single, given.address(Use::Ui)) {
        single.ui = address;
    }
    if let Some(path) = given.path(Use::Local) {
        config.socket = path;
    }
}
