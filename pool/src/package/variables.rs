//! The environment of a worker: what is passed on, `.env`, the manifest and `deploy.json` enter, one map leaves.
//!
//! Weakest first: cleared base, what is passed on, `.env`, `environment` of the manifest, `environment` of
//! `deploy.json`. In the last two `${NAME}` and `${NAME:-default}` are replaced; they see the last four and nothing of
//! PAR's own environment. A name inside its own value means the weaker layers' (`PORT: "${PORT:-80}"`). Values of
//! `.env` are literal.

use std::{collections::BTreeMap, fs, path::Path};

use super::manifest::variants::is_variable;

/// Longest value: what the kernel takes for one variable. It also ends values that double themselves.
const MAX_VALUE: usize = 128 * 1024 - 1024;
/// Deepest chain of names and defaults.
const MAX_DEPTH: usize = 32;
/// Largest `.env` or `deploy.json` read.
const MAX_FILE: u64 = 1 << 20;

/// Why there is no environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// A value needs itself.
    #[error("the environment variable {0} refers to itself in a circle")]
    Cycle(String),
    /// A value is nested or grows beyond all use.
    #[error("the environment variable {0} becomes too long or is nested too deep")]
    TooLong(String),
}

type Map = BTreeMap<String, String>;

/// What a worker's environment is made of.
#[derive(Debug)]
pub struct Origins<'a> {
    /// The package's files: `.env` and `deploy.json`.
    pub root: &'a Path,
    /// The environment whose interpreter runs the worker; `None`: no interpreter does.
    pub virtual_env: Option<&'a Path>,
    /// What is passed on of our own environment.
    pub passed: &'a Map,
    /// `environment` of the manifest.
    pub manifest: &'a Map,
}

/// The whole environment of a worker. What is odd is added to `warnings`; values never are.
pub fn assemble(origins: &Origins<'_>, warnings: &mut Vec<String>) -> Result<Map, VariableError> {
    let dotenv = read(origins.root, ".env", warnings).map(|text| dotenv(&text, warnings)).unwrap_or_default();
    let deploy =
        read(origins.root, "deploy.json", warnings).map(|text| deploy(&text, warnings)).unwrap_or_default();
    let layers = Layers { layers: [origins.passed, &dotenv, origins.manifest, &deploy] };
    let mut map = base(origins.virtual_env);
    map.extend(layers.resolve(warnings)?);
    Ok(map)
}

/// What every worker has. HOME is a place that exists; the process that starts workers replaces it and adds TMPDIR.
fn base(virtual_env: Option<&Path>) -> Map {
    let mut map: Map = own([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/tmp"), ("LANG", "C.UTF-8")]);
    if let Some(virtual_env) = virtual_env {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", virtual_env.join("bin").display());
        map.extend(own([
            ("PATH", path.as_str()),
            ("VIRTUAL_ENV", &virtual_env.to_string_lossy()),
            // Lines of agents reach the log when they are written, and trees of packages stay as they are.
            ("PYTHONUNBUFFERED", "1"),
            ("PYTHONDONTWRITEBYTECODE", "1"),
            ("PYTHONNOUSERSITE", "1"),
        ]));
    }
    map
}

fn own<const N: usize>(pairs: [(&str, &str); N]) -> Map {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn read(root: &Path, name: &str, warnings: &mut Vec<String>) -> Option<String> {
    let path = root.join(name);
    let metadata = fs::metadata(&path).ok()?;
    if metadata.len() > MAX_FILE {
        warnings.push(format!("{name} is larger than 1 MiB and ignored"));
        return None;
    }
    let text = fs::read_to_string(&path);
    if text.is_err() {
        warnings.push(format!("{name} is not UTF-8 text and ignored"));
    }
    text.ok()
}

/// `KEY=VALUE` lines, `export` allowed, matching quotes stripped, comments after white space cut from plain values.
fn dotenv(text: &str, warnings: &mut Vec<String>) -> Map {
    let mut map = Map::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        match line.split_once('=') {
            Some((name, value)) if is_variable(name.trim()) && !value.contains('\0') => {
                map.insert(name.trim().to_owned(), unquoted(value.trim()).to_owned());
            }
            _ => warnings.push(format!(".env: line {} is not KEY=VALUE and ignored", number + 1)),
        }
    }
    map
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = value.strip_prefix(quote).and_then(|rest| {
            let end = rest.find(quote)?;
            let after = rest.get(end + 1..)?.trim_start();
            (after.is_empty() || after.starts_with('#')).then(|| rest.get(..end))?
        });
        if let Some(inner) = inner {
            return inner;
        }
    }
    if value.starts_with('#') {
        return "";
    }
    let comment = [" #", "\t#"].iter().filter_map(|mark| value.find(mark)).min();
    comment.and_then(|at| value.get(..at)).unwrap_or(value).trim_end()
}

fn deploy(text: &str, warnings: &mut Vec<String>) -> Map {
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(text);
    if parsed.is_err() {
        warnings.push("deploy.json is not valid JSON and ignored".to_owned());
    }
    let parsed = parsed.unwrap_or_default();
    let environment = parsed.get("environment").and_then(serde_json::Value::as_object);
    let mut map = Map::new();
    for (name, value) in environment.into_iter().flatten() {
        let text = match value {
            serde_json::Value::String(text) => Some(text.clone()),
            serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Some(value.to_string()),
            serde_json::Value::Null => Some(String::new()),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => None,
        };
        match text.filter(|text| is_variable(name) && !text.contains('\0')) {
            Some(text) => drop(map.insert(name.clone(), text)),
            None => warnings.push(format!("deploy.json: environment.{} is ignored", name.escape_debug())),
        }
    }
    map
}

/// Sources of values, weakest first; the first two are literal.
struct Layers<'a> {
    layers: [&'a Map; 4],
}

/// Layers from here on have references.
const FIRST_RESOLVED: usize = 2;

impl Layers<'_> {
    fn resolve(&self, warnings: &mut Vec<String>) -> Result<Map, VariableError> {
        let mut map = Map::new();
        for name in self.layers.iter().flat_map(|layer| layer.keys()) {
            if !map.contains_key(name) {
                let value = self.value(name, self.layers.len(), &mut Vec::new(), warnings)?;
                map.insert(name.clone(), value.unwrap_or_default());
            }
        }
        warnings.dedup();
        Ok(map)
    }

    /// The value of a name in the strongest layer below `below`.
    fn value(
        &self,
        name: &str,
        below: usize,
        asking: &mut Vec<(String, usize)>,
        warnings: &mut Vec<String>,
    ) -> Result<Option<String>, VariableError> {
        let mut layers = self.layers.iter().enumerate().take(below).rev();
        let Some((at, text)) = layers.find_map(|(at, layer)| Some((at, layer.get(name)?))) else {
            return Ok(None);
        };
        if at < FIRST_RESOLVED {
            return Ok(Some(text.clone()));
        }
        let asked = (name.to_owned(), at);
        if asking.contains(&asked) {
            return Err(VariableError::Cycle(name.to_owned()));
        }
        if asking.len() >= MAX_DEPTH {
            return Err(VariableError::TooLong(name.to_owned()));
        }
        asking.push(asked);
        let value = self.expand(text, asking, 0, warnings)?;
        asking.pop();
        Ok(Some(value))
    }

    /// A text with its references replaced.
    fn expand(
        &self,
        text: &str,
        asking: &mut Vec<(String, usize)>,
        depth: usize,
        warnings: &mut Vec<String>,
    ) -> Result<String, VariableError> {
        let (own, own_layer) = asking.last().cloned().unwrap_or_default();
        let mut value = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            value.push_str(before);
            let Some((inner, behind)) = closed(after) else {
                // Never closed: text like any other.
                value.push_str("${");
                rest = after;
                continue;
            };
            let (name, default) = match inner.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (inner, None),
            };
            let below = if name == own { own_layer } else { self.layers.len() };
            let found = self.value(name, below, asking, warnings)?;
            match (found.filter(|found| default.is_none() || !found.is_empty()), default) {
                (Some(found), _) => value.push_str(&found),
                (None, Some(_)) if depth >= MAX_DEPTH => return Err(VariableError::TooLong(own)),
                (None, Some(default)) => {
                    value += &self.expand(default, asking, depth + 1, warnings)?;
                }
                (None, None) => {
                    let name: String = name.chars().take(60).collect();
                    warnings
                        .push(format!("the environment variable {own} refers to {name}, which is not set"));
                }
            }
            if value.len() > MAX_VALUE {
                return Err(VariableError::TooLong(own));
            }
            rest = behind;
        }
        value.push_str(rest);
        if value.len() > MAX_VALUE { Err(VariableError::TooLong(own)) } else { Ok(value) }
    }
}

/// Splits after the brace that closes, minding references in defaults.
fn closed(text: &str) -> Option<(&str, &str)> {
    let mut open = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' if text.get(..at).is_some_and(|before| before.ends_with('$')) => open += 1,
            '}' if open == 0 => return Some((text.get(..at)?, text.get(at + 1..)?)),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
