//! One mapping of a tree of the file: its keys are taken one by one, what is left nobody knows, and every fault has
//! the path to what is wrong.

use serde_yaml::{Mapping, Value};

/// What is wrong, and where in the tree.
pub(super) type Told = (String, String);

/// A mapping that is being read.
#[derive(Debug)]
pub(super) struct Entry {
    path: String,
    left: Mapping,
    told: Vec<Told>,
}

impl Entry {
    /// The mappings of a list. What is no mapping is a fault.
    pub(super) fn all(path: &str, tree: Value, told: &mut Vec<Told>) -> Vec<Self> {
        let entries = if let Value::Sequence(entries) = tree {
            entries
        } else {
            if !tree.is_null() {
                told.push((path.to_owned(), "must be a list of mappings".to_owned()));
            }
            Vec::new()
        };
        let mut read = Vec::new();
        for (index, entry) in entries.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            if let Value::Mapping(left) = entry {
                read.push(Self { path, left, told: Vec::new() });
            } else {
                told.push((path, "must be a mapping of keys".to_owned()));
            }
        }
        read
    }

    /// A mapping of names, each with what it is for; `None` is none. What is no mapping is a fault.
    pub(super) fn root(path: &str, tree: Value, told: &mut Vec<Told>) -> Self {
        let left = match tree {
            Value::Mapping(left) => left,
            Value::Null => Mapping::new(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Sequence(_) | Value::Tagged(_) => {
                told.push((path.to_owned(), "must hold a mapping of names".to_owned()));
                Mapping::new()
            }
        };
        Self { path: path.to_owned(), left, told: Vec::new() }
    }

    /// Whether a key holds a mapping.
    pub(super) fn has_section(&self, key: &str) -> bool {
        self.left.get(key).is_some_and(Value::is_mapping)
    }

    /// Notes what is wrong with a key.
    pub(super) fn fault(&mut self, key: &str, problem: impl Into<String>) {
        self.told.push((self.path_to(key), problem.into()));
    }

    /// A plain value, parsed. An empty one counts as not given.
    pub(super) fn value<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let read = match self.left.remove(key).as_ref().map(plain) {
            None | Some(Ok(None)) => return None,
            Some(Ok(Some(text))) => parse(&text),
            Some(Err(problem)) => Err(problem),
        };
        read.map_err(|problem| self.fault(key, problem)).ok()
    }

    /// A plain value that must be there.
    pub(super) fn needed<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let before = self.told.len();
        let value = self.value(key, parse);
        if value.is_none() && self.told.len() == before {
            self.fault(key, "is needed");
        }
        value
    }

    /// One plain value or several; an empty list counts as not given.
    pub(super) fn list<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let written = self.left.remove(key)?;
        let items = match &written {
            Value::Sequence(items) => items.as_slice(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Mapping(_)
            | Value::Tagged(_) => std::slice::from_ref(&written),
        };
        let mut values = Vec::new();
        let mut given = false;
        for item in items {
            let read = match plain(item) {
                Ok(None) => continue,
                Ok(Some(text)) => parse(&text),
                Err(problem) => Err(problem),
            };
            given = true;
            match read {
                Ok(value) => values.push(value),
                Err(problem) => self.fault(key, problem),
            }
        }
        given.then_some(values)
    }

    /// One or several that must be there.
    pub(super) fn needed_list<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        self.list(key, parse).unwrap_or_else(|| {
            self.fault(key, "is needed");
            Vec::new()
        })
    }

    /// A mapping below this one; [`Entry::close`] it.
    pub(super) fn section(&mut self, key: &str) -> Option<Self> {
        let written = self.left.remove(key)?;
        if let Value::Mapping(left) = written {
            return Some(Self { path: self.path_to(key), left, told: Vec::new() });
        }
        if !written.is_null() {
            self.fault(key, "must be a mapping of keys");
        }
        None
    }

    /// Leaves the rest unread: nobody can say what of it exists.
    pub(super) fn skip(&mut self) {
        self.left.clear();
    }

    /// The keys that are not read yet, for mappings whose keys are names of somebody else.
    pub(super) fn keys(&self) -> Vec<String> {
        self.left.keys().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Whether nothing was wrong so far.
    pub(super) fn is_sound(&self) -> bool {
        self.told.is_empty()
    }

    /// Ends the reading: whatever was not taken does not exist.
    pub(super) fn close(mut self) -> Vec<Told> {
        for key in std::mem::take(&mut self.left).keys() {
            let key = plain(key).ok().flatten().unwrap_or_else(|| format!("{key:?}"));
            self.fault(&key, "there is no such key");
        }
        self.told
    }

    /// Takes over what was wrong below.
    pub(super) fn absorb(&mut self, section: Self) {
        self.told.extend(section.close());
    }

    fn path_to(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }
}

/// A scalar as text, without the spaces around it; `None` if it is empty.
fn plain(value: &Value) -> Result<Option<String>, String> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => {
            return Err("must be a plain value".to_owned());
        }
    };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(yaml: &str) -> Entry {
        let mut told = Vec::new();
        let mut all = Entry::all("tree", serde_yaml::from_str(yaml).unwrap(), &mut told);
        assert!(told.is_empty(), "{told:?}");
        all.remove(0)
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands where parsers stand")]
    fn text(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    fn no<T>(_: &str) -> Result<T, String> {
        Err("is wrong".to_owned())
    }

    #[test]
    fn what_is_not_taken_does_not_exist() {
        let mut entry = one("[{a: ' x ', b: 1, list: [1, two], c: {d: 1, e: 2}, f: 0}]");
        assert_eq!(entry.value("a", text).as_deref(), Some("x"));
        assert_eq!(entry.value("b", text).as_deref(), Some("1"));
        assert_eq!(entry.list("list", text).unwrap(), ["1", "two"]);
        let mut below = entry.section("c").unwrap();
        assert_eq!(below.value("d", text).as_deref(), Some("1"));
        entry.absorb(below);
        let unknown = |path: &str| (path.to_owned(), "there is no such key".to_owned());
        assert_eq!(entry.close(), [unknown("tree[0].c.e"), unknown("tree[0].f")]);
    }

    #[test]
    fn every_fault_names_its_place_once() {
        let mut entry = one("[{a: [1], b: x, c: [x, {}], d: [], e: 1, f: ''}]");
        assert!(entry.needed("a", text).is_none());
        assert!(entry.needed("b", no::<()>).is_none());
        assert!(entry.needed("f", text).is_none());
        assert_eq!(entry.needed_list("c", text), ["x"]);
        assert!(entry.needed_list("d", text).is_empty());
        assert!(entry.section("e").is_none());
        let told: Vec<_> = entry.close().into_iter().map(|(path, told)| format!("{path} {told}")).collect();
        assert_eq!(
            told,
            [
                "tree[0].a must be a plain value",
                "tree[0].b is wrong",
                "tree[0].f is needed",
                "tree[0].c must be a plain value",
                "tree[0].d is needed",
                "tree[0].e must be a mapping of keys",
            ]
        );
    }

    #[test]
    fn only_a_list_of_mappings_is_one() {
        let read = |yaml: &str| {
            let mut told = Vec::new();
            let all = Entry::all("tree", serde_yaml::from_str(yaml).unwrap(), &mut told);
            (all.len(), told.into_iter().map(|(path, _)| path).collect::<Vec<_>>())
        };
        assert_eq!(read(""), (0, vec![]));
        assert_eq!(read("[]"), (0, vec![]));
        assert_eq!(read("{a: 1}"), (0, vec!["tree".to_owned()]));
        assert_eq!(read("text"), (0, vec!["tree".to_owned()]));
        assert_eq!(read("[{}, 1, {}, [x]]"), (2, vec!["tree[1]".to_owned(), "tree[3]".to_owned()]));
    }
}
