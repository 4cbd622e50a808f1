//! Where the usage of the day survives a restart: one small file in the data directory, replaced whole every few
//! seconds and at the end. What a crash or a power cut forgets are the last seconds, never the whole day.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::quota::Usage;

/// By tenant.
pub(super) type Usages = BTreeMap<String, Usage>;

/// The file.
#[derive(Debug, Clone)]
pub(super) struct QuotaFile {
    path: PathBuf,
}

impl QuotaFile {
    /// Reads what was used before; a missing file is nothing, a damaged one is put aside and said.
    pub(super) fn open(path: PathBuf) -> io::Result<(Self, Usages)> {
        let usages = match std::fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(usages) => usages,
                Err(error) => {
                    let aside = path.with_extension("damaged");
                    std::fs::rename(&path, &aside)?;
                    tracing::error!(
                        event = "quotas_damaged",
                        aside = %aside.display(),
                        %error,
                        "the quotas of today begin anew"
                    );
                    Usages::new()
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Usages::new(),
            Err(error) => return Err(error),
        };
        Ok((Self { path }, usages))
    }

    /// Replaces the file: written beside, synced, renamed. Only we can read it.
    pub(super) fn write(&self, usages: &Usages) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut beside = tempfile::NamedTempFile::new_in(folder)?;
        let mut buffer = io::BufWriter::new(beside.as_file_mut());
        serde_json::to_writer(&mut buffer, usages)?;
        buffer.flush()?;
        drop(buffer);
        beside.as_file().sync_all()?;
        beside.persist(&self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_damage_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quotas.json");
        let (file, mut usages) = QuotaFile::open(path.clone()).unwrap();
        assert!(usages.is_empty());
        usages.insert("ten\"ant".to_owned(), Usage { day: 1, calls: 2, tokens: 3 });
        file.write(&usages).unwrap();
        assert_eq!(QuotaFile::open(path.clone()).unwrap().1, usages);
        std::fs::write(&path, "{").unwrap();
        assert!(QuotaFile::open(path).unwrap().1.is_empty());
        assert!(folder.path().join("quotas.damaged").exists());
    }
}
