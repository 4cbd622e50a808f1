//! What packages are run and installed with: Python, an installer, the programs of loaders.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use par_pool::package::{Loader, LoaderWorker, Python, pythons};
use tokio::process::Command;

use super::checked::Check;

/// Minor of Python 3 that packages commonly ask for. Of those that are not there the nearest newer one is taken.
const USUAL: u8 = 11;

/// Oldest Node that our worker for JavaScript runs on.
const OLDEST_NODE: u32 = 20;

/// Looks for interpreters as packages do.
pub(super) async fn python(given: Vec<PathBuf>) -> Check {
    let found = match tempfile::tempdir() {
        Ok(scratch) => pythons(&given, scratch.path()).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(found) => judge_python(&found, !given.is_empty()),
        Err(error) => Check::failed(
            "python",
            format!("interpreters cannot be asked: {error}"),
            "make the temporary directory (TMPDIR) writable",
        ),
    }
}

/// Pure. `given`: whether the configuration names them.
fn judge_python(found: &[Python], given: bool) -> Check {
    let told = |python: &Python| {
        let [major, minor, patch] = python.version;
        format!("{major}.{minor}.{patch} {}", python.path.display())
    };
    let list = found.iter().map(told).collect::<Vec<_>>().join(", ");
    let place = if given { "in pool.python" } else { "on PATH" };
    if found.is_empty() {
        let remedy = format!("install Python 3.{USUAL}, or name an interpreter in pool.python");
        return Check::failed("python", format!("no Python 3.9 or newer {place}"), remedy);
    }
    if found.iter().all(|python| python.version[1] < USUAL) {
        let remedy = format!(
            "install Python 3.{USUAL} or newer: packages that ask for 3.{USUAL} are never run by an older one"
        );
        return Check::warning("python", list, remedy);
    }
    Check::ok("python", list)
}

/// Asks uv, or without one pip of the first interpreter.
pub(super) async fn installer(uv: Option<PathBuf>, given: Vec<PathBuf>) -> Check {
    if let Some(uv) = uv {
        return match version(&uv, &["--version"]).await {
            Ok(version) => Check::ok("installer", format!("{version} {}", uv.display())),
            Err(problem) => {
                Check::failed("installer", problem, "install uv anew, or name another one in pool.uv")
            }
        };
    }
    let python = match tempfile::tempdir() {
        Ok(scratch) => pythons(&given, scratch.path()).await.unwrap_or_default().into_iter().next(),
        Err(_) => None,
    };
    let pip = match &python {
        Some(python) => version(&python.path, &["-m", "pip", "--version"]).await,
        None => Err("there is no interpreter".to_owned()),
    };
    judge_pip(pip)
}

/// Pure.
fn judge_pip(pip: Result<String, String>) -> Check {
    const REMEDY: &str = "install uv: on PATH, or named in pool.uv";
    match pip {
        Ok(pip) => {
            let pip = pip.split(" from ").next().unwrap_or_default();
            Check::warning("installer", format!("no uv; {pip} is used, which is slower"), REMEDY)
        }
        Err(problem) => {
            let found = format!("neither uv nor pip ({problem}): packages that need others are refused");
            Check::failed("installer", found, REMEDY)
        }
    }
}

/// Asks the program of each loader.
pub(super) async fn loaders(loaders: Vec<Loader>) -> Vec<Check> {
    if loaders.is_empty() {
        return vec![Check::skipped("loaders", "none are configured: packages are Python's alone")];
    }
    let mut checks = Vec::new();
    for loader in loaders {
        let name = format!("loader {}", loader.name);
        checks.push(match &loader.worker {
            LoaderWorker::Node { program } => {
                judge_node(name, version(program, &["--version"]).await, program)
            }
            // Whoever is asked for the version of a foreign program may get anything.
            LoaderWorker::Command { .. } => Check::ok(name, loader.to_string()),
        });
    }
    checks
}

/// Pure.
fn judge_node(name: String, version: Result<String, String>, program: &Path) -> Check {
    let remedy = format!("install Node {OLDEST_NODE} or newer, or name one in `loaders`");
    let version = match version {
        Ok(version) => version,
        Err(problem) => return Check::failed(name, problem, remedy),
    };
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    let found = format!("{version} {}", program.display());
    match major {
        Some(major) if major >= OLDEST_NODE => Check::ok(name, found),
        Some(_) | None => Check::failed(name, format!("{found} is too old, or no Node"), remedy),
    }
}

/// The first line that a program says of itself.
async fn version(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let told = |problem: &dyn std::fmt::Display| format!("{}: {problem}", program.display());
    let output = command.output().await.map_err(|error| told(&error))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(told(&complaint.lines().last().unwrap_or("it fails")));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{super::checked::Verdict, *};

    fn python(minor: u8) -> Python {
        Python { path: format!("/usr/bin/python3.{minor}").into(), version: [3, minor, 2] }
    }

    #[test]
    fn without_python_nothing_runs_and_an_old_one_is_not_for_all() {
        let verdict = |minors: &[u8]| {
            judge_python(&minors.iter().map(|minor| python(*minor)).collect::<Vec<_>>(), false).verdict
        };
        assert_eq!(verdict(&[]), Verdict::Failed);
        assert_eq!(verdict(&[9, 10]), Verdict::Warning);
        assert_eq!(verdict(&[9, 11]), Verdict::Ok);
        assert_eq!(verdict(&[13]), Verdict::Ok);
        assert_eq!(judge_python(&[python(11)], false).found, "3.11.2 /usr/bin/python3.11");
        assert_eq!(judge_python(&[], true).found, "no Python 3.9 or newer in pool.python");
    }

    #[test]
    fn pip_is_the_second_choice_and_there_is_no_third() {
        let pip = judge_pip(Ok("pip 23.0.1 from /usr/lib (python 3.11)".to_owned()));
        assert_eq!((pip.verdict, pip.found.contains("pip 23.0.1 is used")), (Verdict::Warning, true));
        assert_eq!(judge_pip(Err("No module named pip".to_owned())).verdict, Verdict::Failed);
    }

    #[test]
    fn node_must_be_new_enough() {
        let judged = |text: &str| judge_node("n".into(), Ok(text.into()), Path::new("/bin/node")).verdict;
        for (text, wanted) in [
            ("v20.19.2", Verdict::Ok),
            ("v22.1.0", Verdict::Ok),
            ("v18.20.4", Verdict::Failed),
            ("Python 3.11", Verdict::Failed),
        ] {
            assert_eq!(judged(text), wanted, "{text}");
        }
    }
}
