//! Adapters: handlers of ours for packages whose own code is not called. A name in the manifest, or a class in the
//! module of the entrypoint and the rules of the configuration enter; functions of the worker's package leave.
//!
//! No adapter is named here. Each is a folder of the worker's package with a file `adapter.yaml`, which says what it has
//! and what a package gets with it unless its manifest says otherwise:
//!
//! | key | meaning |
//! |---|---|
//! | `classes` | names of classes: the rules where the configuration has none |
//! | `functions` | names of its functions; the first is for every agent that `agents` does not name |
//! | `agents` | functions by the id of an agent |
//! | `session`, `kits` | as in `agent.yaml` |

use std::{fs, io::Read as _, path::Path, sync::LazyLock};

use par_proto::ids::ExportId;

use super::{
    checked::{Handler, PythonWanted, Runtime},
    raw::{self, Node},
    section::{Notes, Section},
};

include!(concat!(env!("OUT_DIR"), "/adapters.rs"));

/// Word of a manifest that wants no adapter, whatever the configuration says.
pub(super) const NONE: &str = "none";

/// What adapters are written in, and packages that rules are about.
const PYTHON: Runtime = Runtime::Python(PythonWanted::Any);

/// Most bytes of a module that are looked through for a class.
const MAX_MODULE: u64 = 1 << 20;

/// Folders of a package from which its modules are imported, in their order.
const FOLDERS: [&str; 3] = ["", "src", "src/a2a"];

static DECLARED: LazyLock<Vec<Declared>> =
    LazyLock::new(|| ADAPTERS.iter().filter_map(|(name, text)| declared(name, text)).collect());

/// What an `adapter.yaml` says.
#[derive(Debug, PartialEq)]
struct Declared {
    name: String,
    module: String,
    classes: Vec<String>,
    functions: Vec<String>,
    agents: Vec<(String, String)>,
    /// All of it.
    node: Node,
}

/// One adapter that there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adapter(&'static Declared);

/// Packages whose entrypoint's module defines or imports a class of this name get this adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterRule {
    /// Name of the class.
    pub class: String,
    /// What such packages get.
    pub adapter: Adapter,
}

impl AdapterRule {
    /// The rules where the configuration has none: what the adapters say themselves.
    pub fn declared() -> Vec<Self> {
        let of = |declared: &'static Declared| {
            let rule = move |class: &String| Self { class: class.clone(), adapter: Adapter(declared) };
            declared.classes.iter().map(rule)
        };
        DECLARED.iter().flat_map(of).collect()
    }
}

impl Adapter {
    /// The adapter of a name like `python-executor`.
    pub fn named(name: &str) -> Option<Self> {
        DECLARED.iter().find(|declared| declared.name == name).map(Self)
    }

    /// The names that there are.
    pub fn names() -> impl Iterator<Item = &'static str> {
        DECLARED.iter().map(|declared| declared.name.as_str())
    }

    /// The function for an agent.
    pub(super) fn handler_of(self, id: &ExportId) -> Option<Handler> {
        let named =
            self.0.agents.iter().find(|(agent, _)| agent == id.as_str()).map(|(_, function)| function);
        self.handler(named.or(self.0.functions.first())?)
    }

    /// A function by its name.
    pub(super) fn handler(self, function: &str) -> Option<Handler> {
        self.functions().iter().find(|known| *known == function)?;
        Handler::of(&self.0.module, function, &PYTHON)
    }

    /// The names of its functions.
    pub(super) fn functions(self) -> &'static [String] {
        &self.0.functions
    }

    /// What packages get, in the words of a manifest.
    pub(super) fn manifest(self) -> &'static Node {
        &self.0.node
    }
}

/// The adapter that the rules find for the package at `root`.
pub(super) fn by_rule(root: &Path, node: &Node, rules: &[AdapterRule]) -> Option<Adapter> {
    let Node::Scalar { text, .. } = node.get("entrypoint").filter(|_| !rules.is_empty())? else {
        return None;
    };
    let code = module_text(root, &Handler::parse(text, &PYTHON)?.module)?;
    rules.iter().find(|rule| has_class(&code, &rule.class)).map(|rule| rule.adapter)
}

fn module_text(root: &Path, module: &str) -> Option<String> {
    let path = module.replace('.', "/");
    let mut files = FOLDERS.iter().flat_map(|folder| {
        [format!("{path}.py"), format!("{path}/__init__.py")].map(|name| root.join(folder).join(name))
    });
    let file = files.find(|file| file.is_file())?;
    let mut text = Vec::new();
    fs::File::open(file).ok()?.take(MAX_MODULE).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// Whether a module has a class, as far as its text tells: defined or imported by a line of its own, not indented.
fn has_class(code: &str, class: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.lines().any(|line| {
        if let Some(rest) = line.strip_prefix("class ") {
            let name = rest.trim_start();
            return name.split(|c: char| !is_name(c)).next() == Some(class);
        }
        let imported = line.strip_prefix("from ").and_then(|rest| rest.split_once(" import "));
        imported.is_some_and(|(_, names)| names.split(|c: char| !is_name(c)).any(|name| name == class))
    })
}

/// None for a declaration with a fault; a test sees to it that there is none.
fn declared(name: &str, text: &str) -> Option<Declared> {
    let node = raw::parse(text).ok()?;
    let notes = Notes::default();
    let section = Section::root(&node, &notes);
    let (classes, functions) = (section.texts("classes"), section.texts("functions"));
    let agents = section.text_map("agents");
    let module = format!("pixell_runtime.adapters.{name}");
    let (faults, _) = notes.into_parts();
    let known = agents.iter().all(|(_, function)| functions.contains(function));
    (faults.is_empty() && known && !functions.is_empty()).then(|| Declared {
        name: name.replace('_', "-"),
        module,
        classes,
        functions,
        agents,
        node,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::Loaders;

    #[test]
    fn every_adapter_is_declared_without_a_fault() {
        assert_eq!(DECLARED.len(), ADAPTERS.len());
        assert!(Adapter::names().any(|name| name == "python-executor"), "{ADAPTERS:?}");
        for declared in DECLARED.iter() {
            let agents: Vec<String> =
                declared.agents.iter().map(|(agent, _)| format!("  - {{name: {agent}}}\n")).collect();
            let name = &declared.name;
            let text = format!("name: a\nversion: 1\nadapter: {name}\nsub_agents:\n{}", agents.concat());
            let (package, warnings) =
                super::super::variants::check(&raw::parse(&text).unwrap(), &Loaders::default(), None)
                    .unwrap();
            assert_eq!((package.exports.len(), warnings.len()), (declared.agents.len(), 0));
        }
        assert_eq!(declared("x", "functions: []"), None);
        assert_eq!(declared("x", "functions: [a]\nagents: {b: c}"), None);
    }

    #[test]
    fn a_class_is_found_by_the_text_of_its_module() {
        for code in [
            "class Wanted:\n    pass",
            "import x\n\nclass Wanted(Base):",
            "from .impl import Wanted",
            "from a import Other, Wanted as W",
        ] {
            assert!(has_class(code, "Wanted"), "{code}");
        }
        for code in [
            "class Wanted2:",
            "class NotWanted:",
            "  class Wanted:",
            "# class Wanted",
            "x = 'Wanted'",
            "from Wanted import x",
        ] {
            assert!(!has_class(code, "Wanted"), "{code}");
        }
    }

    #[test]
    fn the_module_of_an_entrypoint_is_found_where_it_would_be_imported_from() {
        let root = tempfile::tempdir().unwrap();
        let adapter = Adapter::named("python-executor").unwrap();
        let rules = [AdapterRule { class: "Wanted".into(), adapter }];
        let found = |entrypoint: &str| {
            let node = raw::parse(&format!("entrypoint: {entrypoint}")).unwrap();
            by_rule(root.path(), &node, &rules)
        };
        for (file, entrypoint) in [
            ("one.py", "one:main"),
            ("src/two.py", "two:main"),
            ("src/three.py", "src.three:main"),
            ("src/a2a/four/__init__.py", "four:main"),
        ] {
            assert_eq!(found(entrypoint), None);
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "class Wanted: pass").unwrap();
            assert_eq!(found(entrypoint), Some(adapter), "{file}");
        }
        assert_eq!(found("../one:main"), None);
        assert_eq!(by_rule(root.path(), &raw::parse("entrypoint: one:main").unwrap(), &[]), None);
    }
}
