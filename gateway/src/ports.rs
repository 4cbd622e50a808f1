//! The ports of this process: those that were given, and those that are bound here.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::Context as _;

use crate::{
    config::Config,
    single,
    sockets::{self, Given, Use},
};

/// What listens, or will.
#[derive(Debug)]
pub(crate) struct Ports {
    /// HTTP.
    pub(crate) http: OwnedFd,
    /// Metrics.
    pub(crate) metrics: OwnedFd,
    /// gRPC; in single mode nobody listens yet unless it was given.
    pub(crate) a2a: OwnedFd,
    /// The UI of single mode, likewise.
    pub(crate) ui: Option<OwnedFd>,
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
        let Some(single) = &config.single else {
            return Ok(Self { http, metrics, a2a: port(Use::A2a, config.a2a)?, ui: None });
        };
        // One agent's ports listen when there is an agent, unless somebody has them listen already.
        let mut later = |place, address| match given.take(place) {
            Some(socket) => Ok(socket),
            None => single::reserved(address).with_context(|| format!("reserving {address}")),
        };
        let (a2a, ui) = (later(Use::A2a, config.a2a)?, later(Use::Ui, single.ui)?);
        Ok(Self { http, metrics, a2a, ui: Some(ui) })
    }

    /// All of them, by their use.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Use, &dyn AsFd)> {
        let there: [(Use, &dyn AsFd); 3] =
            [(Use::Http, &self.http), (Use::Metrics, &self.metrics), (Use::A2a, &self.a2a)];
        there.into_iter().chain(self.ui.iter().map(|ui| (Use::Ui, ui as &dyn AsFd)))
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
