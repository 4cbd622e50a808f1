//! What survives a restart: packages loaded through the management API or named by the index, rollbacks, shares,
//! switches, owners of bare ids, the number of the last generation. One small JSON file, replaced whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use par_proto::ids::{Digest, ExportId, PackageId, PackageName, Version};
use serde::{Deserialize, Serialize};

/// A package that comes back after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    /// The source as it was given.
    pub(crate) source: String,
    /// Digest of its bytes when it was loaded.
    pub(crate) sha256: Option<Digest>,
}

/// A rollback that holds until a source names something newer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    /// The version that serves.
    pub(crate) version: Version,
    /// Where its bytes came from, and their digest.
    #[serde(flatten)]
    pub(crate) bytes: Remembered,
    /// The version that was rolled back from.
    pub(crate) from: Version,
}

/// What the index said about a name when it was last brought in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Indexed {
    /// The version.
    pub(crate) version: Version,
    /// Where its bytes are, and their digest.
    #[serde(flatten)]
    pub(crate) bytes: Remembered,
}

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// By package id.
    #[serde(default)]
    pub(crate) loaded: BTreeMap<PackageIdKey, Remembered>,
    /// `package/export` of disabled agents.
    #[serde(default)]
    pub(crate) disabled: BTreeSet<String>,
    /// Owners of bare export ids.
    #[serde(default)]
    pub(crate) owners: BTreeMap<ExportId, PackageName>,
    /// Rollbacks that hold.
    #[serde(default)]
    pub(crate) pins: BTreeMap<PackageName, Pin>,
    /// What came from the index.
    #[serde(default)]
    pub(crate) indexed: BTreeMap<PackageName, Indexed>,
    /// Shares of versions in the calls of a package.
    #[serde(default)]
    pub(crate) traffic: BTreeMap<PackageName, BTreeMap<Version, u32>>,
    /// Number of the last generation.
    #[serde(default)]
    pub(crate) generation: u64,
}

/// A package id as a key of a JSON object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct PackageIdKey(pub(crate) PackageId);

/// The file.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// Reads the state; a missing file is the empty state, a damaged one is put aside and said.
    pub(crate) fn open(path: PathBuf) -> io::Result<(Self, State)> {
        let state = match std::fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(state) => state,
                Err(error) => {
                    let aside = path.with_extension("damaged");
                    std::fs::rename(&path, &aside)?;
                    tracing::error!(event = "state_damaged", aside = %aside.display(), %error, "starting empty");
                    State::default()
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(error),
        };
        Ok((Self { path }, state))
    }

    /// Replaces the file: written beside, synced, renamed.
    pub(crate) fn write(&self, state: &State) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut beside = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut beside, state)?;
        beside.flush()?;
        beside.as_file().sync_all()?;
        beside.persist(&self.path)?;
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_damage_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let (file, mut state) = StateFile::open(path.clone()).unwrap();
        state.disabled.insert("a/b".into());
        state.owners.insert("x".parse().unwrap(), "a".parse().unwrap());
        state.loaded.insert(
            PackageIdKey("a@1.0".parse().unwrap()),
            Remembered { source: "/a.apkg".into(), sha256: None },
        );
        file.write(&state).unwrap();
        assert_eq!(StateFile::open(path.clone()).unwrap().1, state);
        std::fs::write(&path, "{").unwrap();
        assert_eq!(StateFile::open(path).unwrap().1, State::default());
        assert!(folder.path().join("state.damaged").exists());
    }
}
