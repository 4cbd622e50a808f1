//! All files of one UI, listed once. What a request names is looked up in the list and never in a directory, so nothing
//! outside of it can be reached.

use std::{
    borrow::Cow,
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use percent_encoding::percent_decode_str;

use super::{
    coding::Coding,
    file::{File, Variant},
};

/// Deepest directory; a UI of a hundred levels is none.
const DEEPEST: usize = 32;

/// What a directory answers with.
const INDEX: &str = "index.html";

/// What tells a page where the REST surface is.
const CONFIG: &str = "ui-config.json";

/// The files of one UI.
#[derive(Debug, Default)]
pub(crate) struct Site {
    /// By path, without a slash at its begin.
    files: HashMap<Box<str>, Arc<File>>,
    /// `ui.basePath`, empty for `/`.
    base: Box<str>,
}

/// What a path names.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// A file.
    File(&'a Arc<File>),
    /// A directory without a slash at its end: links of its page would lead elsewhere.
    Slash,
    /// `ui-config.json`
    Config,
    /// Nothing.
    Nothing,
}

impl Site {
    /// Lists the directory of a UI. Names that begin with a dot are left out, `.well-known` excepted; links are
    /// followed only to files of the same directory. Blocks.
    ///
    /// # Errors
    /// If a directory cannot be read; none at all is an empty site.
    pub(crate) fn open(root: &Path, base: &str) -> io::Result<Self> {
        let mut variants = HashMap::new();
        match root.canonicalize() {
            Ok(root) => list(&root, &root, "", &mut variants, 0)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut files: HashMap<Box<str>, File> =
            variants.iter().map(|(name, plain)| (name.clone(), File::new(name, Arc::clone(plain)))).collect();
        for (name, file) in &mut files {
            for coding in Coding::ALL {
                if let Some(packed) = variants.get(format!("{name}{}", coding.suffix()).as_str()) {
                    file.packed.push((coding, Arc::clone(packed)));
                }
            }
        }
        let files = files.into_iter().map(|(name, file)| (name, Arc::new(file))).collect();
        Ok(Self { files, base: base.trim_end_matches('/').into() })
    }

    /// What a path names, which follows the place of the UI as the client wrote it: empty, or with a leading slash.
    /// `navigates`: the client opens a page, so that a path of the page's own gets the page.
    pub(crate) fn find(&self, path: &str, navigates: bool) -> Found<'_> {
        let path = match path.strip_prefix(&*self.base) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            Some(_) | None => path,
        };
        let Some(name) = path.strip_prefix('/') else { return Found::Slash };
        let Ok(name) = percent_decode_str(name).decode_utf8() else { return Found::Nothing };
        if name == CONFIG {
            return Found::Config;
        }
        if let Some(file) = self.files.get(&*name) {
            return Found::File(file);
        }
        let directory = name.strip_suffix('/').unwrap_or(&name);
        match self.index(directory) {
            Some(index) if name.is_empty() || name.ends_with('/') => return Found::File(index),
            Some(_) => return Found::Slash,
            None => {}
        }
        match self.index("") {
            Some(page) if navigates && is_of_page(&name) => Found::File(page),
            Some(_) | None => Found::Nothing,
        }
    }

    fn index(&self, directory: &str) -> Option<&Arc<File>> {
        let name =
            if directory.is_empty() { Cow::Borrowed(INDEX) } else { format!("{directory}/{INDEX}").into() };
        self.files.get(&*name)
    }
}

/// Whether a path may be one that a page handles itself: neither a file nor an API.
fn is_of_page(name: &str) -> bool {
    let is_api = name == "api" || name.starts_with("api/");
    let last = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    !is_api && !last.contains('.')
}

type Variants = HashMap<Box<str>, Arc<Variant>>;

fn list(root: &Path, directory: &Path, prefix: &str, found: &mut Variants, depth: usize) -> io::Result<()> {
    if depth > DEEPEST {
        return Ok(());
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // What is no text cannot be asked for.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') && name != ".well-known" {
            continue;
        }
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(root, &entry.path(), &format!("{path}/"), found, depth + 1)?;
        } else if let Some((place, facts)) = real(root, &entry.path(), kind) {
            found.insert(path.into_boxed_str(), Arc::new(Variant::new(place, &facts)));
        }
    }
    Ok(())
}

/// The regular file that an entry is, or leads to within the root.
fn real(root: &Path, entry: &Path, kind: fs::FileType) -> Option<(PathBuf, fs::Metadata)> {
    let place = if kind.is_symlink() { entry.canonicalize().ok()? } else { entry.to_owned() };
    let hidden = |path: &Path| {
        path.components().any(|part| {
            let name = part.as_os_str().to_string_lossy();
            name.starts_with('.') && name != ".well-known"
        })
    };
    let inside = place.strip_prefix(root).is_ok_and(|inside| !hidden(inside));
    let facts = fs::symlink_metadata(&place).ok()?;
    (inside && facts.is_file()).then_some((place, facts))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A site with these files; each has its own name as its content.
    fn site(base: &str, names: &[&str]) -> (tempfile::TempDir, Site) {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let site = Site::open(directory.path(), base).unwrap();
        (directory, site)
    }

    fn found(site: &Site, path: &str, navigates: bool) -> String {
        match site.find(path, navigates) {
            Found::File(file) => fs::read_to_string(&file.plain.path).unwrap(),
            Found::Slash => "/".to_owned(),
            Found::Config => "config".to_owned(),
            Found::Nothing => String::new(),
        }
    }

    const NAMES: [&str; 8] = [
        "index.html",
        "app.js",
        "docs/index.html",
        "deep/page/x.css",
        "with space.txt",
        ".well-known/agent.json",
        ".env",
        ".git/config",
    ];

    #[test]
    fn files_directories_and_pages_are_found() {
        let (_directory, site) = site("/", &NAMES);
        for (path, wanted) in [
            ("/", "index.html"),
            ("", "/"),
            ("/app.js", "app.js"),
            ("/docs", "/"),
            ("/docs/", "docs/index.html"),
            ("/deep/page/x.css", "deep/page/x.css"),
            ("/with%20space.txt", "with space.txt"),
            ("/.well-known/agent.json", ".well-known/agent.json"),
            ("/ui-config.json", "config"),
            ("/deep/", ""),
            ("/deep", ""),
            ("/nothing", ""),
            ("//app.js", ""),
            ("/app.js/", ""),
        ] {
            assert_eq!(found(&site, path, false), wanted, "{path}");
        }
    }

    #[test]
    fn a_path_of_the_pages_own_gets_the_page_and_only_if_somebody_opens_it() {
        let (_directory, site) = site("/", &NAMES);
        for path in ["/settings", "/deep/page", "/deep/page/", "/users/42", "/apiary"] {
            assert_eq!(found(&site, path, true), "index.html", "{path}");
            assert_eq!(found(&site, path, false), "", "{path}");
        }
        for path in ["/api", "/api/unknown", "/api/", "/old.js", "/x/y.png", "/%61pi/unknown"] {
            assert_eq!(found(&site, path, true), "", "{path}");
        }
    }

    #[test]
    fn nothing_hidden_and_nothing_outside_is_listed() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let (directory, _) = site("/", &NAMES);
        symlink(outside.path().join("secret"), directory.path().join("leak")).unwrap();
        symlink(outside.path(), directory.path().join("out")).unwrap();
        symlink(directory.path().join(".env"), directory.path().join("hidden")).unwrap();
        symlink("app.js", directory.path().join("same")).unwrap();
        symlink(".", directory.path().join("round")).unwrap();
        let site = Site::open(directory.path(), "/").unwrap();
        for path in [
            "/leak",
            "/out/secret",
            "/hidden",
            "/.env",
            "/.git/config",
            "/round/app.js",
            "/../secret",
            "/%2e%2e/secret",
            "/..%2fsecret",
        ] {
            assert_eq!(found(&site, path, false), "", "{path}");
        }
        assert_eq!(found(&site, "/same", false), "app.js");
    }

    #[test]
    fn a_base_path_may_be_named_and_may_be_left_out() {
        let (_directory, site) = site("/app", &NAMES);
        for path in ["/app/", "/"] {
            assert_eq!(found(&site, path, false), "index.html", "{path}");
        }
        assert_eq!(found(&site, "/app", false), "/");
        assert_eq!(found(&site, "/app/docs/", false), "docs/index.html");
        assert_eq!(found(&site, "/app.js", false), "app.js", "the base is a whole segment");
    }

    #[test]
    fn packed_forms_belong_to_their_file() {
        let (_directory, site) = site("/", &["app.js", "app.js.br", "app.js.gz", "style.css.gz"]);
        let forms = |path: &str| match site.find(path, false) {
            Found::File(file) => file.packed.iter().map(|(coding, _)| *coding).collect(),
            Found::Slash | Found::Config | Found::Nothing => Vec::new(),
        };
        assert_eq!(forms("/app.js"), Coding::ALL);
        assert_eq!(forms("/app.js.br"), []);
        assert_eq!(forms("/style.css"), [], "nobody can have it unpacked");
    }

    #[test]
    fn no_directory_is_an_empty_site() {
        let site = Site::open(Path::new("/nonexistent/ui"), "/").unwrap();
        assert_eq!(found(&site, "/", true), "");
    }
}
