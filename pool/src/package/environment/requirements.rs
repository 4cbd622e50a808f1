//! What a package needs installed: its files enter, requirement lines leave.
//!
//! `requirements.txt` and the dependencies of `pyproject.toml` hold together, as an author expects who pins in the one
//! what the other names; the manifest's `dependencies` count when the package has neither. Lines that only make sense
//! for this package on this host (local paths, VCS and other addresses, options such as an index of its own) make the
//! environment private.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::package::{PullError, Step};

/// Largest file of requirements read; a lock with hashes of 500 packages has 400 KB.
const MAX_BYTES: u64 = 4 << 20;
/// Deepest `-r` chain followed.
const MAX_DEPTH: usize = 8;
/// Most lines: far more than any lock, few enough to hash and write at once.
const MAX_LINES: usize = 100_000;

/// What is to be installed besides the package itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Requirements {
    /// Lines for an installer, in their order, without comments.
    pub(super) lines: Vec<String>,
    /// Lines that only bound versions.
    pub(super) constraints: Vec<String>,
    /// The first line that makes the environment private.
    pub(super) private: Option<String>,
    /// Whether the package states its requirements itself, be it that there are none.
    pub(super) own: bool,
}

/// The parts of `pyproject.toml` that matter here.
#[derive(Debug, Default, Deserialize)]
struct Pyproject {
    project: Option<ProjectTable>,
    #[serde(rename = "build-system")]
    build_system: Option<toml::Table>,
    #[serde(default)]
    tool: ToolTable,
}

#[derive(Debug, Default, Deserialize)]
struct ProjectTable {
    dependencies: Option<Vec<String>>,
    #[serde(default)]
    dynamic: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct ToolTable {
    poetry: Option<toml::Table>,
}

/// Whether the package is a project that can be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Project {
    /// Nothing to install.
    None,
    /// A `setup.py` as PAK writes it: its packages are the directories at the root, which is on the path anyway.
    Generated,
    /// A project whose dependencies are known.
    Static,
    /// A project that must be built for its dependencies to be known.
    Dynamic,
}

/// Reads what a package requires and what kind of project it is. What cannot be read well is warned about.
pub(super) fn read(root: &Path, warnings: &mut Vec<String>) -> Result<(Requirements, Project), PullError> {
    let mut found = Requirements::default();
    let file = root.join("requirements.txt");
    if file.is_file() {
        found.own = true;
        found.file(root, &file, false, 0)?;
    }
    let pyproject = pyproject(root, warnings);
    if let Some(dependencies) = pyproject.project.as_ref().and_then(|project| project.dependencies.as_ref()) {
        found.own = true;
        for line in dependencies {
            found.line(root, root, line, false, 0)?;
        }
    }
    let project = project(root, &pyproject, found.own);
    Ok((found, project))
}

fn pyproject(root: &Path, warnings: &mut Vec<String>) -> Pyproject {
    let file = root.join("pyproject.toml");
    if !file.is_file() {
        return Pyproject::default();
    }
    let parsed = text(&file)
        .map_err(|error| error.detail)
        .and_then(|text| toml::from_str(&text).map_err(|error: toml::de::Error| error.message().to_owned()));
    parsed.unwrap_or_else(|error| {
        warnings.push(format!("pyproject.toml is not understood and ignored: {error}"));
        Pyproject::default()
    })
}

fn project(root: &Path, pyproject: &Pyproject, own: bool) -> Project {
    let setup: String = text(&root.join("setup.py")).unwrap_or_default();
    let setup: String =
        setup.chars().filter(|c| !c.is_whitespace()).map(|c| if c == '\'' { '"' } else { c }).collect();
    // As PAK writes it, whatever stands beside it: what it would install is on the path already.
    if setup.contains("package_dir={\"\":\".\"}") {
        return Project::Generated;
    }
    let has_pyproject =
        pyproject.project.is_some() || pyproject.build_system.is_some() || pyproject.tool.poetry.is_some();
    if !has_pyproject && setup.is_empty() {
        return Project::None;
    }
    let declared = match &pyproject.project {
        Some(project) => !project.dynamic.iter().any(|name| name == "dependencies"),
        // With requirements of its own a package repeats them in setup.py at most.
        None => own,
    };
    if declared { Project::Static } else { Project::Dynamic }
}

fn text(file: &Path) -> Result<String, PullError> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let refused = |what: &str| PullError::refused(Step::Environment, format!("{name} {what}"));
    if fs::metadata(file).is_ok_and(|metadata| metadata.len() > MAX_BYTES) {
        return Err(refused("is too large"));
    }
    let bytes = fs::read(file).map_err(|error| refused("cannot be read").with_log(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| refused("is not UTF-8"))?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

impl Requirements {
    fn file(&mut self, root: &Path, file: &Path, constraint: bool, depth: usize) -> Result<(), PullError> {
        let text = text(file)?.replace("\\\r\n", " ").replace("\\\n", " ");
        let directory = file.parent().unwrap_or(root);
        for line in text.lines() {
            self.line(root, directory, line, constraint, depth)?;
        }
        Ok(())
    }

    fn line(
        &mut self,
        root: &Path,
        directory: &Path,
        line: &str,
        constraint: bool,
        depth: usize,
    ) -> Result<(), PullError> {
        let line = without_comment(line).trim();
        if line.is_empty() {
            return Ok(());
        }
        if let Some(place) = option(line, &["-r", "--requirement"]) {
            return self.file(root, &included(root, directory, place, depth)?, constraint, depth + 1);
        }
        if let Some(place) = option(line, &["-c", "--constraint"]) {
            return self.file(root, &included(root, directory, place, depth)?, true, depth + 1);
        }
        let target = option(line, &["-e", "--editable"]).unwrap_or(line);
        if matches!(target, "." | "./") {
            // The package's own project has a layer of its own.
            return Ok(());
        }
        if self.lines.len() + self.constraints.len() >= MAX_LINES {
            return Err(PullError::refused(Step::Environment, "the package has too many requirements"));
        }
        if self.private.is_none() && (line.starts_with('-') || is_place(line)) {
            self.private = Some(line.chars().take(80).collect());
        }
        let lines = if constraint { &mut self.constraints } else { &mut self.lines };
        lines.push(line.to_owned());
        Ok(())
    }

    /// Adds single requirements, as metadata and manifests state them.
    pub(super) fn add(&mut self, root: &Path, lines: &[String]) -> Result<(), PullError> {
        lines.iter().try_for_each(|line| self.line(root, root, line, false, MAX_DEPTH))
    }

    /// All of it as one file for an installer; constraints apart.
    pub(super) fn texts(&self) -> (String, String) {
        let file = |lines: &[String]| lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        (file(&self.lines), file(&self.constraints))
    }
}

/// The value of an option in any of pip's spellings: `-r x`, `-rx`, `--requirement x`, `--requirement=x`.
fn option<'a>(line: &'a str, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| {
        let rest = line.strip_prefix(name)?;
        let long = name.starts_with("--");
        let value = match rest.strip_prefix('=') {
            Some(value) if long => value,
            _ if long && !rest.starts_with(char::is_whitespace) => return None,
            _ => rest,
        };
        Some(value.trim()).filter(|value| !value.is_empty())
    })
}

/// A comment begins the line or follows white space; `#egg=…` of an address does neither.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    [" #", "\t#"]
        .iter()
        .filter_map(|mark| line.find(mark))
        .min()
        .map_or(line, |at| line.get(..at).unwrap_or(line))
}

/// Whether a requirement is an address or a path instead of a name.
fn is_place(line: &str) -> bool {
    let requirement = line.split(';').next().unwrap_or(line).trim();
    let first = requirement.split_whitespace().next().unwrap_or_default();
    let archive = [".whl", ".zip", ".tar.gz", ".tar.bz2"].iter().any(|ending| first.ends_with(ending));
    requirement.contains('@')
        || requirement.contains("://")
        || first.starts_with(['.', '/', '~'])
        || first.contains('/')
        || archive
}

fn included(root: &Path, directory: &Path, place: &str, depth: usize) -> Result<PathBuf, PullError> {
    let refused = |what: &str| {
        let place: String = place.chars().take(80).collect();
        Err(PullError::refused(
            Step::Environment,
            format!("requirements: the included file {place:?} {what}"),
        ))
    };
    if depth >= MAX_DEPTH {
        return refused("is included too deep");
    }
    match (directory.join(place).canonicalize(), root.canonicalize()) {
        (Ok(file), Ok(root)) if file.starts_with(&root) && file.is_file() => Ok(file),
        _ => refused("is not a file of the package"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files, kind of project, whether requirements are its own, and how many.
    type Case<'a> = (&'a [(&'a str, &'a str)], Project, bool, usize);

    fn package(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        directory
    }

    fn of(files: &[(&str, &str)]) -> Result<(Requirements, Project), PullError> {
        read(package(files).path(), &mut Vec::new())
    }

    #[test]
    fn requirements_are_lines_without_comments_and_with_their_includes() {
        let (found, project) = of(&[
            ("requirements.txt", "\u{feff}six==1.17.0 \\\n  --hash=sha256:00 # why\n\n# x\n-e .\n-r more/a.txt\n-c c.txt\nidna>=3 ; python_version>'3.8'"),
            ("more/a.txt", "-r b.txt\r\nattrs[x] ~= 25.1\r\n"),
            ("more/b.txt", "toml"),
            ("c.txt", "idna<4"),
        ])
        .unwrap();
        let lines =
            ["six==1.17.0    --hash=sha256:00", "toml", "attrs[x] ~= 25.1", "idna>=3 ; python_version>'3.8'"];
        assert_eq!(found.lines, lines);
        assert_eq!(found.constraints, ["idna<4"]);
        assert_eq!((found.private, found.own, project), (None, true, Project::None));
    }

    #[test]
    fn places_and_options_make_an_environment_private() {
        for line in [
            "./vendor/x",
            "vendor/x",
            "/opt/x",
            "x.whl",
            "x @ https://h/x.whl",
            "git+https://h/x@v1#egg=x",
            "-e ./x",
            "-e git+ssh://h/x",
            "--index-url https://h",
            "--extra-index-url=https://h",
            "-f https://h",
            "--pre",
            "-ihttps://h",
        ] {
            assert!(of(&[("requirements.txt", line)]).unwrap().0.private.is_some(), "{line}");
        }
        for line in
            ["six", "six>=1,<2", "-e .", ".", "a[b]>=1; extra == 'x/y'", "  # ./x", "six # see https://h"]
        {
            assert_eq!(of(&[("requirements.txt", line)]).unwrap().0.private, None, "{line}");
        }
    }

    #[test]
    fn includes_stay_in_the_package() {
        for line in ["-r /etc/hostname", "-r ../x", "-r missing.txt", "-r requirements.txt", "-c ../../x"] {
            assert!(of(&[("requirements.txt", line)]).is_err(), "{line}");
        }
    }

    #[test]
    fn projects_are_told_apart() {
        let generated = "setup(name='x', package_dir={'': '.'}, packages=['src'])";
        let cases: [Case<'_>; 9] = [
            (&[], Project::None, false, 0),
            (&[("pyproject.toml", "[tool.ruff]\nline-length = 1")], Project::None, false, 0),
            (
                &[("pyproject.toml", "[project]\nname='x'\ndependencies=['six','idna']")],
                Project::Static,
                true,
                2,
            ),
            (
                &[("pyproject.toml", "[project]\nname='x'\ndynamic=['dependencies']")],
                Project::Dynamic,
                false,
                0,
            ),
            (
                &[("pyproject.toml", "[build-system]\nrequires=[]\n[tool.poetry]\nname='x'")],
                Project::Dynamic,
                false,
                0,
            ),
            (&[("setup.py", generated), ("requirements.txt", "six")], Project::Generated, true, 1),
            (
                &[("setup.py", generated), ("pyproject.toml", "[project]\nname='x'\ndependencies=['six']")],
                Project::Generated,
                true,
                1,
            ),
            (&[("setup.py", "setup(install_requires=['six'])")], Project::Dynamic, false, 0),
            (
                &[
                    ("setup.py", "setup()"),
                    ("requirements.txt", "six"),
                    ("pyproject.toml", "[project]\nname='x'\ndependencies=['idna']"),
                ],
                Project::Static,
                true,
                2,
            ),
        ];
        for (files, project, own, lines) in cases {
            let (found, kind) = of(files).unwrap();
            assert_eq!((kind, found.own, found.lines.len()), (project, own, lines), "{files:?}");
        }
        let mut warnings = Vec::new();
        let broken = package(&[("pyproject.toml", "[project")]);
        assert_eq!(read(broken.path(), &mut warnings).unwrap().1, Project::None);
        assert_eq!(warnings.len(), 1);
    }
}
