//! What runs packages of other languages than Python.

use std::path::{Path, PathBuf};

use par_pool::package::{Loader, LoaderWorker};
use serde_yaml::Value;

use super::{Check, entry::Entry, raw};
use crate::config::{Environment, pool::is_executable};

/// Our own worker for JavaScript, and the program that it needs.
const NODE: &str = "node";

impl Check<'_> {
    /// One for each value of `runtime:` that is named.
    pub(super) fn loaders(&mut self) -> Vec<Loader> {
        let Some(tree) = self.tree::<Value>(&raw::LOADERS) else { return Vec::new() };
        let mut told = Vec::new();
        let mut entries = Entry::root(raw::LOADERS.key, tree, &mut told);
        let mut loaders = Vec::new();
        for name in entries.keys() {
            if let Err(problem) = runtime(&name) {
                entries.fault(&name, problem);
            }
            let worker = self.loader(&mut entries, &name);
            loaders.extend(worker.map(|worker| Loader { name, worker }));
        }
        told.extend(entries.close());
        self.tell(&raw::LOADERS, told);
        loaders
    }

    /// `node`, `{node: program}` or `{command: […]}`.
    fn loader(&self, entries: &mut Entry, name: &str) -> Option<LoaderWorker> {
        let find = |text: &str| program(text, self.environment);
        if !entries.has_section(name) {
            return entries.needed(name, |text| match text {
                NODE => Ok(LoaderWorker::Node { program: find(NODE)? }),
                other => Err(format!("{other:?} is not {NODE}, {{{NODE}: program}} or {{command: […]}}")),
            });
        }
        let mut section = entries.section(name)?;
        let node = section.value(NODE, find).map(|program| LoaderWorker::Node { program });
        let words = section.list("command", |text| Ok(text.to_owned()));
        let command = words.as_ref().and_then(|words| {
            let (first, arguments) = words.split_first()?;
            match find(first) {
                Ok(program) => Some(LoaderWorker::Command { program, arguments: arguments.to_vec() }),
                Err(problem) => {
                    section.fault("command", problem);
                    None
                }
            }
        });
        if node.is_some() && words.is_some() {
            section.fault("command", format!("there is {NODE} already; one of them is needed"));
        } else if node.is_none() && words.is_none() && section.is_sound() {
            section.fault("command", "is needed");
        }
        entries.absorb(section);
        command.or(node)
    }
}

/// A value of `runtime:` that is not ours.
fn runtime(name: &str) -> Result<(), String> {
    if name.trim().is_empty() || name.contains(char::is_whitespace) {
        return Err("a runtime is one word".to_owned());
    }
    if name.to_ascii_lowercase().starts_with("python") {
        return Err("Python needs no loader".to_owned());
    }
    Ok(())
}

/// An absolute path of a program, or its name on PATH.
fn program(text: &str, environment: &Environment) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if path.is_absolute() {
        let problem = || format!("{text:?} is not a program");
        return is_executable(path).then(|| path.to_owned()).ok_or_else(problem);
    }
    if text.contains('/') {
        return Err(format!("{text:?} must be an absolute path, or a name on PATH"));
    }
    std::env::split_paths(environment.get("PATH").unwrap_or_default())
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(text))
        .find(|candidate| is_executable(candidate))
        .ok_or_else(|| format!("there is no program {text:?} on PATH"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Flags};

    fn load(yaml: &str) -> Result<Vec<Loader>, Vec<String>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), yaml).unwrap();
        let flags = Flags { file: Some(file.path().to_owned()), ..Flags::default() };
        let environment = [("HOME", "/home/me"), ("PATH", "/usr/bin:/bin")].into_iter().collect();
        match Config::load(&flags, &environment) {
            Ok(config) => Ok(config.pool.loaders),
            Err(faults) => {
                Err(faults.0.iter().map(|fault| format!("{}: {}", fault.name, fault.problem)).collect())
            }
        }
    }

    #[test]
    fn a_loader_is_our_own_worker_or_a_command() {
        let loaders = load("loaders: {go: {command: [sh, -c, x]}, node20: {node: /bin/sh}}").unwrap();
        let [go, node] = loaders.as_slice() else { panic!("{loaders:?}") };
        let LoaderWorker::Command { program, arguments } = &go.worker else { panic!("{go:?}") };
        assert!(program.is_absolute() && program.ends_with("sh"));
        assert_eq!((go.name.as_str(), arguments.as_slice()), ("go", &["-c".to_owned(), "x".to_owned()][..]));
        assert_eq!(node.worker, LoaderWorker::Node { program: "/bin/sh".into() });
        assert_eq!(load("loaders:").unwrap(), []);
    }

    #[test]
    fn every_fault_of_every_loader_is_told_at_once() {
        let faults = load(
            "loaders:\n  a: deno\n  b: {command: [no-such-program]}\n  c: {command: [./x]}\n  d: {}\n  \
             python3.11: {command: [sh]}\n  e: {command: [sh], node: sh}\n  f: {node: /etc/passwd}\n  g: {other: 1}\n",
        )
        .unwrap_err();
        for expected in [
            "loaders.a: \"deno\" is not node",
            "loaders.b.command: there is no program \"no-such-program\" on PATH",
            "loaders.c.command: \"./x\" must be an absolute path",
            "loaders.d.command: is needed",
            "loaders.python3.11: Python needs no loader",
            "loaders.e.command: there is node already",
            "loaders.f.node: \"/etc/passwd\" is not a program",
            "loaders.g.other: there is no such key",
        ] {
            assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{expected}: {faults:#?}");
        }
    }
}
