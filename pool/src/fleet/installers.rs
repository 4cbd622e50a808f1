//! How many packages are installed and imported at the same time, whoever asks: the start, the management API, a
//! watched directory.

use std::convert::Infallible;

use deadpool::managed::{Manager, Metrics, Object, Pool, RecycleResult};

/// Installs are bound by the processor and the disk: more at once only delay the first.
const AT_ONCE: usize = 2;

/// The right to install one package.
#[derive(Debug)]
pub(crate) struct Installer;

/// Makes installers; there is nothing that could be worn out.
#[derive(Debug)]
pub(crate) struct Installers;

impl Manager for Installers {
    type Type = Installer;
    type Error = Infallible;

    async fn create(&self) -> Result<Installer, Infallible> {
        Ok(Installer)
    }

    async fn recycle(&self, _installer: &mut Installer, _metrics: &Metrics) -> RecycleResult<Infallible> {
        Ok(())
    }
}

/// The pool of installers.
pub(crate) type InstallerPool = Pool<Installers>;

/// The right that one install holds; given back on drop.
pub(crate) type Installing = Object<Installers>;

/// Makes the pool.
pub(crate) fn pool() -> std::io::Result<InstallerPool> {
    Pool::builder(Installers).max_size(AT_ONCE).build().map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_third_install_waits_for_the_first_and_a_dropped_one_gives_its_place_back() {
        let pool = pool().unwrap();
        let first = pool.get().await.unwrap();
        let _second = pool.get().await.unwrap();
        let mut third = std::pin::pin!(pool.get());
        assert!(futures_util::poll!(third.as_mut()).is_pending());
        drop(first);
        assert!(third.await.is_ok());
    }
}
