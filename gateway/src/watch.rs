//! `--dev`: directory sources are loaded again when their files change.

use std::{path::PathBuf, sync::Arc, time::Duration};

use notify::{EventKind, RecursiveMode, Watcher as _};
use par_pool::{
    fleet::Pool,
    package::{Location, Source},
};
use tokio::sync::mpsc;

/// Editors write a file in several steps; a change counts when it has been quiet for this long.
const QUIET: Duration = Duration::from_millis(200);

/// Watches until the process ends. A directory that cannot be watched is said and left alone.
pub(crate) fn watch(pool: &Arc<Pool>, sources: &[Source]) {
    for source in sources {
        if let Location::Directory(directory) = &source.location {
            tokio::spawn(follow(Arc::clone(pool), source.clone(), directory.clone()));
        }
    }
}

async fn follow(pool: Arc<Pool>, source: Source, directory: PathBuf) {
    let (notice, mut changes) = mpsc::channel::<()>(1);
    let noticed = move |event: notify::Result<notify::Event>| {
        let matters = event.is_ok_and(|event| {
            !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(|path| matters(path))
        });
        if matters {
            // A change that finds the channel full is covered by the one in it.
            notice.try_send(()).ok();
        }
    };
    let watcher = notify::recommended_watcher(noticed)
        .and_then(|mut watcher| watcher.watch(&directory, RecursiveMode::Recursive).map(|()| watcher));
    let _watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(event = "not_watched", source = %source, %error, "changes of this directory go unnoticed");
            return;
        }
    };
    while changes.recv().await.is_some() {
        while tokio::time::timeout(QUIET, changes.recv()).await.is_ok() {}
        tracing::info!(event = "changed", source = %source, "rolling out");
        // A failure is logged and kept in the list of packages; what was mounted serves on.
        drop(pool.changed(&source).await);
    }
}

/// Bytecode and editors' own files are not part of a package.
fn matters(path: &std::path::Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let is = |kind: &str| path.extension().is_some_and(|extension| extension == kind);
    let ours = path.components().any(|part| part.as_os_str() == "__pycache__" || part.as_os_str() == ".git");
    !ours && !is("pyc") && !is("swp") && !name.ends_with('~')
}
