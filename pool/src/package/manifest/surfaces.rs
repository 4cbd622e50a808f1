//! The surfaces of a manifest: `rest`, `a2a`, `http_server` and `ui` in all their spellings enter, [`Surfaces`] leaves.
//!
//! What an entry returns decides what it is, not the key it stands under: builders mirror `service` and `http_server`
//! into `entry`, so the keys of one surface agree and the key says nothing.

use super::{
    checked::{Entry, Handler, PythonWanted, Runtime, Surfaces, UiSurface},
    raw::Node,
    section::Section,
};

/// Surfaces are served by Python alone.
const PYTHON: Runtime = Runtime::Python(PythonWanted::Any);

pub(super) fn read(root: &Section<'_>, entrypoint: Option<&Handler>) -> Surfaces {
    let http_server =
        root.text("http_server").and_then(|text| handler(root, "http_server", text, "app", None));
    let mut rest = rest(root, entrypoint).map(Entry::Function);
    let mut a2a = a2a(root);
    if http_server.is_some() {
        // One application under two names is served once.
        if a2a == http_server {
            a2a = None;
        }
        rest = rest.or(http_server.map(Entry::Application));
    }
    let workers = root.section("surfaces").number("workers", 1..=1024).unwrap_or(1) as u32;
    Surfaces { rest, a2a: a2a.map(Entry::Function), ui: ui(root), workers }
}

fn rest(root: &Section<'_>, entrypoint: Option<&Handler>) -> Option<Handler> {
    let text = match root.get("rest")? {
        Node::Scalar { .. } => root.text("rest"),
        Node::Null | Node::List(_) | Node::Map(_) => {
            let section = root.section("rest");
            if section.flag("enabled") == Some(false) {
                return None;
            }
            section.text("entry")
        }
    };
    let Some(text) = text else {
        root.warn("rest", "it has no entry and is ignored");
        return None;
    };
    handler(root, "rest.entry", text, "mount", entrypoint)
}

fn a2a(root: &Section<'_>) -> Option<Handler> {
    let node = root.get("a2a")?;
    if matches!(node, Node::Scalar { .. }) {
        return handler(root, "a2a", root.text("a2a")?, "create_service", None);
    }
    let section = root.section("a2a");
    if section.flag("enabled") == Some(false) {
        return None;
    }
    let (key, text) =
        ["service", "entry", "http_server"].into_iter().find_map(|key| Some((key, section.text(key)?)))?;
    handler(&section, key, text, "create_service", None)
}

/// An entry: `module:function`; a bare function of the entrypoint's module where there is one; else a module, whose
/// function has the usual name.
fn handler(
    section: &Section<'_>,
    key: &str,
    text: &str,
    usual: &str,
    entrypoint: Option<&Handler>,
) -> Option<Handler> {
    let handler = if text.contains(':') {
        Handler::parse(text, &PYTHON)
    } else {
        match entrypoint {
            Some(entrypoint) if !text.contains('.') => Handler::of(&entrypoint.module, text, &PYTHON),
            _ => Handler::of(text, usual, &PYTHON),
        }
    };
    if handler.is_none() {
        section.fault(key, &format!("{text:?} is not module:function"));
    }
    handler
}

fn ui(root: &Section<'_>) -> Option<UiSurface> {
    let node = root.get("ui")?;
    let (path, base_path, public) = match node {
        Node::Scalar { value: serde_json::Value::Bool(false), .. } => return None,
        Node::Scalar { value: serde_json::Value::Bool(true), .. } => (None, None, false),
        Node::Scalar { .. } => (root.text("ui"), None, false),
        Node::Null | Node::List(_) | Node::Map(_) => {
            let section = root.section("ui");
            if section.flag("enabled") == Some(false) {
                return None;
            }
            let base_path = section.text("basePath").or_else(|| section.text("base_path"));
            (section.text("path"), base_path, section.flag("public").unwrap_or(false))
        }
    };
    let path = path.unwrap_or_else(|| {
        root.warn("ui.path", "is missing; \"ui\" is taken");
        "ui"
    });
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').filter(|part| *part != ".").collect();
    let leaves = |part: &&str| part.is_empty() || *part == ".." || part.contains(['\\', '\0']);
    if parts.is_empty() || parts.iter().any(leaves) {
        root.fault("ui.path", &format!("{path:?} is no directory of the package"));
    }
    Some(UiSurface { path: parts.join("/"), base_path: base(root, base_path.unwrap_or("/")), public })
}

/// `/`, or a path with a leading and without a trailing slash.
fn base(root: &Section<'_>, text: &str) -> String {
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    let plain = |part: &&str| {
        **part != *".."
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
    };
    if !parts.iter().all(plain) {
        root.fault("ui.basePath", &format!("{text:?} is no path of a route"));
    }
    format!("/{}", parts.join("/"))
}
