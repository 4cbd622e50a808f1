//! Packages made by tests: as a directory, as an archive, as bytes.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use zip::{ZipWriter, write::SimpleFileOptions};

/// A package in memory.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    name: String,
    version: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl Package {
    /// Name and version go into `agent.yaml`; `manifest` is the rest of it.
    pub(crate) fn new(name: &str, version: &str, manifest: &str) -> Self {
        let manifest = format!("name: {name}\nversion: '{version}'\n{manifest}\n");
        Self::bare(name, version).file("agent.yaml", manifest)
    }

    /// Only files: `agent.yaml` is up to the test.
    pub(crate) fn bare(name: &str, version: &str) -> Self {
        Self { name: name.to_owned(), version: version.to_owned(), files: BTreeMap::new() }
    }

    /// The most common one: an entrypoint in `main.py`.
    pub(crate) fn with_main(name: &str, version: &str, code: &str) -> Self {
        Self::new(name, version, "entrypoint: main:run").file("main.py", code)
    }

    /// The same, let out of its sandbox to one place.
    pub(crate) fn writing(name: &str, version: &str, code: &str, place: &Path) -> Self {
        let manifest =
            format!("entrypoint: main:run\npermissions: {{fs_write: [{:?}]}}", place.to_string_lossy());
        Self::new(name, version, &manifest).file("main.py", code)
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// `name-version.apkg`.
    pub(crate) fn file_name(&self) -> String {
        format!("{}-{}.apkg", self.name, self.version)
    }

    /// The most common one that answers with a word.
    pub(crate) fn saying(name: &str, version: &str, word: &str) -> Self {
        Self::with_main(name, version, &format!("def run(input):\n    return '{word}'\n"))
    }

    /// One more file, or another content.
    pub(crate) fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.to_owned(), content.into());
        self
    }

    /// Written as a directory below `parent`.
    pub(crate) fn directory(&self, parent: &Path) -> PathBuf {
        let root = parent.join(format!("{}-{}", self.name, self.version));
        for (path, content) in &self.files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a file lies somewhere")).expect("a directory");
            fs::write(path, content).expect("a file");
        }
        root
    }

    /// Written as `name-version.apkg` below `parent`.
    pub(crate) fn apkg(&self, parent: &Path) -> PathBuf {
        let path = parent.join(self.file_name());
        fs::write(&path, self.bytes()).expect("a file");
        path
    }

    /// The archive.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(vec![]));
        for (path, content) in &self.files {
            zip.start_file(path.as_str(), SimpleFileOptions::default()).expect("an entry");
            zip.write_all(content).expect("its content");
        }
        zip.finish().expect("an archive").into_inner()
    }

    /// SHA-256 of the archive in hexadecimal.
    pub(crate) fn sha256(&self) -> String {
        hex::encode(Sha256::digest(self.bytes()))
    }
}

/// A directory as an archive, as `pixell build` makes it.
pub(crate) fn zip_directory(root: &Path) -> Vec<u8> {
    let mut package = Package::bare("any", "0");
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry.expect("a readable directory");
        if entry.file_type().is_file() {
            let path = entry.path().strip_prefix(root).expect("it lies below");
            package = package.file(&path.to_string_lossy(), fs::read(entry.path()).expect("a readable file"));
        }
    }
    package.bytes()
}
