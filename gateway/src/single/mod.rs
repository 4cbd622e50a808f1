//! Single mode, one container for one agent: its boot in order, what it tells about its readiness, and its end when the
//! boot fails.

mod boot;
mod container;
mod failures;
mod ports;
mod probe;
mod verdict;

use self::failures::FailedBoots;
use crate::config::Config;

pub(crate) use boot::Boot;
pub(crate) use container::{Container, Health};
pub(crate) use ports::reserved;

/// What counts failed boots, in single mode.
pub(crate) fn failed_boots(config: &Config) -> Option<FailedBoots> {
    let single = config.single.as_ref()?;
    Some(FailedBoots::new(&config.data_dir, single.boot_failures))
}
