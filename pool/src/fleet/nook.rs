//! The temporary directory of one isolated session: its worker sees no other and nobody else sees it, and it goes with
//! the session.

use std::{
    fs::{self, DirBuilder},
    io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use tokio::runtime::Handle;

use super::generation::Generation;
use crate::process::Template;

/// The directory; removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Nook {
    path: PathBuf,
    background: Handle,
}

impl Nook {
    fn make(path: PathBuf, background: Handle) -> io::Result<Self> {
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, background })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Nook {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        // A disk may be slow. What is not removed because the process ends is swept at the next start.
        self.background.spawn_blocking(move || {
            if let Err(error) = fs::remove_dir_all(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(event = "temporary_left", %error, path = %path.display(), "temporary files of a session could not be removed");
            }
        });
    }
}

impl Generation {
    /// A directory for one more session, and the layer that leaves its worker nothing else. `None`: none was foreseen,
    /// since the package's sessions are not isolated.
    pub(super) async fn nook(&self, template: &Template) -> io::Result<Option<(Nook, Option<OwnedFd>)>> {
        let Some(all) = template.bounds().sessions() else { return Ok(None) };
        let path = all.join(format!("{}-{}", self.number, self.solitary.next()));
        let (shield, bounds) = (self.settings.template.shield.clone(), template.bounds().clone());
        let background = self.settings.background.clone();
        let made = self.settings.background.spawn_blocking(move || {
            let nook = Nook::make(path, background)?;
            let layer = shield.extra_layer(&bounds, nook.path())?;
            Ok(Some((nook, layer)))
        });
        made.await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_goes_with_its_session_and_all_that_is_in_it() {
        let all = tempfile::tempdir().unwrap();
        let path = all.path().join("1-1");
        let nook = Nook::make(path.clone(), Handle::current()).unwrap();
        fs::create_dir_all(nook.path().join("deep/er")).unwrap();
        fs::write(nook.path().join("deep/er/file"), "x").unwrap();
        assert_eq!(
            Nook::make(path.clone(), Handle::current()).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        drop(nook);
        while path.exists() {
            tokio::task::yield_now().await;
        }
    }
}
