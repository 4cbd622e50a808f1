//! Values that stand elsewhere: `env:NAME` is the value of a variable, `file:PATH` the content of a file. Secrets come
//! to containers like this, and a configuration without them can be shown to anybody.

use std::{fs::File, io::Read as _, path::Path};

use serde_yaml::Value;

use super::raw::{Environment, Written};

/// Largest file that a reference may name: a value, not a document.
const LARGEST: u64 = 64 << 10;

/// The text that a value stands for; most stand for themselves. A URL with the scheme `file` is no reference.
pub(super) fn resolve(text: &str, environment: &Environment) -> Result<Option<String>, String> {
    if let Some(name) = text.strip_prefix("env:") {
        let value = environment.get(name).filter(|value| !value.is_empty());
        return match value {
            Some(value) => Ok(Some(value.to_owned())),
            None => Err(format!("{text:?} names a variable that is not set")),
        };
    }
    match text.strip_prefix("file:") {
        None => Ok(None),
        Some(path) if path.starts_with("//") => Ok(None),
        Some(path) => read(Path::new(path)).map(Some).map_err(|problem| format!("{text:?} {problem}")),
    }
}

/// Replaces every reference in a value; the problems of those that lead nowhere.
pub(super) fn follow(written: &mut Written, environment: &Environment) -> Vec<String> {
    let mut problems = Vec::new();
    let mut one = |text: &mut String| match resolve(text, environment) {
        Ok(Some(value)) => *text = value,
        Ok(None) => {}
        Err(problem) => problems.push(problem),
    };
    match written {
        Written::One(text) => one(text),
        Written::Many(texts) => texts.iter_mut().for_each(one),
        Written::Tree(tree) => leaves(tree, &mut one),
    }
    problems
}

fn leaves(tree: &mut Value, one: &mut impl FnMut(&mut String)) {
    match tree {
        Value::String(text) => one(text),
        Value::Sequence(items) => items.iter_mut().for_each(|item| leaves(item, one)),
        Value::Mapping(entries) => entries.values_mut().for_each(|value| leaves(value, one)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Tagged(_) => {}
    }
}

/// A file's text without the newline that editors add.
fn read(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(cannot)?;
    if !file.metadata().map_err(cannot)?.is_file() {
        return Err("is not a file".to_owned());
    }
    let mut text = String::new();
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > LARGEST {
        return Err(format!("has more than {LARGEST} bytes"));
    }
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_lead_to_variables_and_files_and_everything_else_stays() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from a file\r\n").unwrap();
        let environment = [("TOKEN", "from a variable"), ("EMPTY", "")].into_iter().collect();
        let resolved = |text: &str| resolve(text, &environment);
        assert_eq!(resolved("env:TOKEN"), Ok(Some("from a variable".to_owned())));
        assert_eq!(resolved(&format!("file:{}", file.path().display())), Ok(Some("from a file".to_owned())));
        for plain in ["plain", "file:///srv/index.json", "environment", "https://x/env:TOKEN", ""] {
            assert_eq!(resolved(plain), Ok(None), "{plain}");
        }
        for broken in ["env:MISSING", "env:EMPTY", "env:", "file:/nowhere/at/all", "file:/", "file:/dev/null"]
        {
            assert!(resolved(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_file_that_is_no_value_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let reference = format!("file:{}", file.path().display());
        let environment = Environment::default();
        assert!(resolve(&reference, &environment).unwrap_err().ends_with("is empty"));
        std::fs::write(file.path(), "x".repeat(65 << 10)).unwrap();
        assert!(resolve(&reference, &environment).unwrap_err().contains("more than"));
        std::fs::write(file.path(), [0xff, 0xfe]).unwrap();
        assert!(resolve(&reference, &environment).is_err());
    }

    #[test]
    fn references_in_lists_and_trees_are_followed_and_every_problem_is_told() {
        let environment = [("A", "1")].into_iter().collect();
        let mut tree =
            Written::Tree(serde_yaml::from_str("[{x: 'env:A', y: 'env:B', z: 5}, 'env:C']").unwrap());
        let problems = follow(&mut tree, &environment);
        assert_eq!(problems.len(), 2, "{problems:?}");
        let Written::Tree(tree) = tree else { panic!("still a tree") };
        assert_eq!(tree[0]["x"], "1");
        let mut many = Written::Many(vec!["env:A".to_owned(), "b".to_owned()]);
        assert!(follow(&mut many, &environment).is_empty());
        assert_eq!(many, Written::Many(vec!["1".to_owned(), "b".to_owned()]));
    }
}
