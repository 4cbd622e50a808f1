//! `runtime:` in all its spellings enters, what the code is written for leaves.

use super::{
    checked::{PythonWanted, Runtime, Surfaces},
    compare::{Comparisons, numbers},
    raw::Node,
    section::Section,
};
use crate::package::Loaders;

const ANY: Runtime = Runtime::Python(PythonWanted::Any);

/// What a package's code is written for; without a word, Python.
pub(super) fn read(root: &Section<'_>, loaders: &Loaders) -> Runtime {
    match root.get("runtime") {
        None => ANY,
        Some(Node::Scalar { text, .. }) => match text.trim().to_ascii_lowercase().strip_prefix("python") {
            Some(rest) => python(root, "runtime", rest.trim_start_matches([':', '-', '=', ' '])),
            None => loader(root, text.trim(), loaders),
        },
        Some(node @ Node::Map(entries)) => {
            let section = root.section("runtime");
            if let Some(text) = section.text("python") {
                return python(&section, "python", text);
            }
            match entries.first() {
                Some((other, version)) if node.get("python").is_none() && other != "python" => {
                    match version {
                        // `{node: 20}` is `node20`.
                        Node::Scalar { text, .. } if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                            return loader(root, &format!("{other}{text}"), loaders);
                        }
                        Node::Null => {}
                        Node::Scalar { .. } | Node::List(_) | Node::Map(_) => {
                            section.warn(other, "versions of other languages are not compared");
                        }
                    }
                    loader(root, other, loaders)
                }
                _ => ANY,
            }
        }
        Some(Node::Null | Node::List(_)) => {
            root.fault("runtime", "python3.11 or a mapping like {python: \">=3.9\"} is expected");
            ANY
        }
    }
}

/// Loaders serve calls; who serves surfaces is a worker of ours for Python.
pub(super) fn check_surfaces(root: &Section<'_>, runtime: &Runtime, surfaces: &Surfaces) {
    if let (Runtime::Loader(name), true) = (runtime, surfaces.are_served()) {
        root.fault("runtime", &format!("a package of {name} cannot have the surfaces rest and a2a"));
    }
}

fn loader(root: &Section<'_>, name: &str, loaders: &Loaders) -> Runtime {
    if loaders.get(name).is_none() {
        let known: Vec<&str> = loaders.names().collect();
        let known = match known.as_slice() {
            [] => "the configuration's `loaders` names none".to_owned(),
            names => format!("there are loaders for {}", names.join(", ")),
        };
        root.fault("runtime", &format!("no loader is configured for {name} ({known})"));
    }
    Runtime::Loader(name.to_owned())
}

/// `3.11`, `3`, nothing, or comparisons.
fn python(section: &Section<'_>, key: &str, text: &str) -> Runtime {
    match numbers(text).as_deref() {
        _ if text.is_empty() || text == "3" => return ANY,
        Some([major, minor, ..]) => {
            if let (Ok(major @ 3), Ok(minor)) = (u8::try_from(*major), u8::try_from(*minor)) {
                return Runtime::Python(PythonWanted::Minor(major, minor));
            }
        }
        None if Comparisons::parse(text).is_some() => {
            return Runtime::Python(PythonWanted::Range(text.to_owned()));
        }
        Some(_) | None => {}
    }
    section.fault(key, &format!("{text:?} is no version of Python 3"));
    ANY
}
