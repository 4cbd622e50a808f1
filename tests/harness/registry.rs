//! An index of packages, published where a registry would publish it.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{HttpsServer, Package, S3Server};

/// What will be published.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    entries: Vec<Value>,
    files: Vec<(String, Vec<u8>)>,
}

impl Index {
    /// These packages, each with its file beside the index.
    pub(crate) fn of<'a>(packages: impl IntoIterator<Item = &'a Package>) -> Self {
        packages.into_iter().fold(Self::default(), |index, package| index.with(package, json!({})))
    }

    /// One more package; `fields` go over those of its entry.
    pub(crate) fn with(mut self, package: &Package, fields: Value) -> Self {
        let mut entry = json!({
            "name": package.name(),
            "version": package.version(),
            "url": package.file_name(),
            "sha256": package.sha256(),
            "size": package.bytes().len(),
        });
        let Value::Object(fields) = fields else { panic!("fields of an entry") };
        for (key, value) in fields {
            entry[key] = value;
        }
        self.files.push((package.file_name(), package.bytes()));
        self.raw(entry)
    }

    /// One more entry, as it is, without a file.
    pub(crate) fn raw(mut self, entry: Value) -> Self {
        self.entries.push(entry);
        self
    }

    /// One more file beside the index.
    pub(crate) fn file(mut self, name: &str, bytes: Vec<u8>) -> Self {
        self.files.push((name.to_owned(), bytes));
        self
    }

    fn text(&self) -> Vec<u8> {
        json!({"version": 1, "packages": self.entries, "made_by": "a test"}).to_string().into_bytes()
    }

    /// In a folder: files first, then the index in one rename. Returns the path of the index.
    pub(crate) fn in_folder(&self, folder: &Path) -> String {
        for (name, bytes) in &self.files {
            fs::write(folder.join(name), bytes).expect("a file");
        }
        put_index(folder, &self.text())
    }

    /// On a web server below `/registry`. Returns the address of the index.
    pub(crate) fn on_web(&self, server: &HttpsServer) -> String {
        for (name, bytes) in &self.files {
            server.gives(&format!("/registry/{name}"), bytes.clone());
        }
        server.gives("/registry/index.json", self.text())
    }

    /// In the bucket `packages` below `registry/`. Returns the address of the index.
    pub(crate) fn in_bucket(&self, server: &S3Server) -> String {
        for (name, bytes) in &self.files {
            server.put("packages", &format!("registry/{name}"), bytes);
        }
        server.put("packages", "registry/index.json", self.text())
    }
}

/// The index of a folder in one rename, whatever it holds. Returns its path.
pub(crate) fn put_index(folder: &Path, bytes: &[u8]) -> String {
    let (beside, index) = (folder.join(".index.json"), folder.join("index.json"));
    fs::write(&beside, bytes).expect("a file");
    fs::rename(beside, &index).expect("a rename");
    index.to_str().expect("a path of text").to_owned()
}
