//! Settings as written: command line, environment and file in, one text per setting out, with its origin.
//!
//! [`ALL`] is the one list of names. A key of the file that is not in it is a fault; nothing is parsed here.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use serde_yaml::Value;

use super::{
    fault::{Fault, Origin},
    reference,
};

mod names;

pub(crate) use names::*;

/// Settings whose value is a tree of the file: their checks read it with the names that they know.
const TREES: &[&Setting] =
    &[&ISSUERS, &ADAPTERS, &TENANTS, &AGENTS, &LOADERS, &PACKAGE_ADAPTERS, &METRICS_SINKS];

/// The variables of the process, as text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of this process. Names and values that are no Unicode are left out, except the values of our own
    /// settings: those are kept with replacement characters, so that a check can refuse them.
    pub(crate) fn of_process() -> Self {
        Self::from_os(std::env::vars_os())
    }

    fn from_os(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        Self(
            variables
                .filter_map(|(name, value)| {
                    let name = name.into_string().ok()?;
                    let ours = ALL.iter().any(|setting| setting.variable == Some(name.as_str()));
                    match value.into_string() {
                        Ok(value) => Some((name, value)),
                        Err(value) if ours => Some((name, value.to_string_lossy().into_owned())),
                        Err(_) => None,
                    }
                })
                .collect(),
        )
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of them, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    /// Settings that were given as flags.
    pub(crate) settings: Vec<(&'static Setting, String)>,
    /// `-c`.
    pub(crate) file: Option<PathBuf>,
    /// `--dev`.
    pub(crate) dev: bool,
    /// Sources, in order.
    pub(crate) sources: Vec<String>,
}

/// One value as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// A scalar.
    One(String),
    /// A sequence of scalars; only files have them.
    Many(Vec<String>),
    /// Whatever stands there, for settings that are more than a list; only files have them.
    Tree(Value),
}

/// The strongest value of every setting that was given at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Raw {
    given: BTreeMap<&'static str, (Written, Origin)>,
    /// Keys that do not exist, and values that are no text.
    pub(crate) faults: Vec<Fault>,
}

impl Raw {
    /// Collects: flag over environment over file.
    pub(crate) fn gather(flags: &Flags, environment: &Environment) -> Self {
        let mut raw = Self::default();
        if let Some(path) = file(flags, environment) {
            raw.read_file(path);
        }
        for setting in ALL {
            let Some(text) = setting.variable.and_then(|name| environment.get(name)) else { continue };
            raw.given.insert(setting.key, (Written::One(text.to_owned()), Origin::Environment));
        }
        for (setting, text) in &flags.settings {
            raw.given.insert(setting.key, (Written::One(text.clone()), Origin::Flag));
        }
        raw.follow(environment);
        raw
    }

    /// Puts values in the place of references.
    fn follow(&mut self, environment: &Environment) {
        for (key, (written, origin)) in &mut self.given {
            let name =
                ALL.iter().find(|setting| setting.key == *key).map_or(*key, |setting| origin.name(setting));
            let problems = reference::follow(written, environment);
            let fault = |problem| Fault { name: name.to_owned(), origin: origin.clone(), problem };
            self.faults.extend(problems.into_iter().map(fault));
        }
    }

    /// What was written for a setting.
    pub(crate) fn get(&self, setting: &Setting) -> Option<&(Written, Origin)> {
        self.given.get(setting.key)
    }

    /// What was written, by key.
    pub(crate) fn written(&self) -> BTreeMap<&'static str, Written> {
        self.given.iter().map(|(key, (written, _))| (*key, written.clone())).collect()
    }

    fn read_file(&mut self, path: PathBuf) {
        let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        let tree = read.and_then(|text| serde_yaml::from_str(&text).map_err(|error| error.to_string()));
        let origin = Origin::File(path);
        match tree {
            Ok(tree) => self.take(String::new(), tree, &origin),
            Err(problem) => self.faults.push(Fault { name: "-c".to_owned(), origin, problem }),
        }
    }

    /// Walks a tree; `prefix` is the path to it. An empty value means "not given".
    fn take(&mut self, prefix: String, tree: Value, origin: &Origin) {
        let setting = ALL.iter().find(|setting| setting.key == prefix);
        let problem = match (tree, setting) {
            (Value::Null, _) if setting.is_some() || prefix.is_empty() || is_section(&prefix) => return,
            (Value::Mapping(entries), None) if prefix.is_empty() || is_section(&prefix) => {
                for (key, value) in entries {
                    let key = scalar(&key).unwrap_or_else(|| format!("{key:?}"));
                    let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                    self.take(path, value, origin);
                }
                return;
            }
            (value, Some(setting)) if TREES.contains(&setting) => {
                self.given.insert(setting.key, (Written::Tree(value), origin.clone()));
                return;
            }
            (value, Some(setting)) => match written(&value) {
                Some(written) => {
                    self.given.insert(setting.key, (written, origin.clone()));
                    return;
                }
                None => "must be a plain value or a list of plain values".to_owned(),
            },
            (_, None) if prefix.is_empty() => "the file must hold a mapping of keys".to_owned(),
            (_, None) if is_section(&prefix) => "is a section and must hold a mapping of keys".to_owned(),
            (_, None) => unknown(&prefix),
        };
        let name = if prefix.is_empty() { "-c".to_owned() } else { prefix };
        self.faults.push(Fault { name, origin: origin.clone(), problem });
    }
}

/// The file of settings, if there is one.
pub(crate) fn file(flags: &Flags, environment: &Environment) -> Option<PathBuf> {
    flags.file.clone().or_else(|| environment.get("PAR_CONFIG").map(PathBuf::from))
}

fn is_section(path: &str) -> bool {
    ALL.iter().any(|setting| setting.key.split_once('.').is_some_and(|(section, _)| section == path))
}

fn unknown(key: &str) -> String {
    let leaf = key.rsplit('.').next().unwrap_or(key);
    let near = ALL.iter().find(|setting| setting.key.rsplit('.').next() == Some(leaf));
    match near {
        Some(setting) => format!("there is no such key; did you mean {}?", setting.key),
        None => "there is no such key".to_owned(),
    }
}

/// A plain value as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

fn written(value: &Value) -> Option<Written> {
    match value {
        Value::Sequence(items) => items.iter().map(scalar).collect::<Option<_>>().map(Written::Many),
        Value::String(_) | Value::Bool(_) | Value::Number(_) => scalar(value).map(Written::One),
        Value::Null | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

#[cfg(test)]
mod tests;
