//! Entry strings: `module:function` and its shorter forms enter, a [`Handler`] leaves.

use super::checked::{Handler, Runtime};

/// Longest module or attribute.
const LONGEST: usize = 256;

impl Handler {
    /// Reads `module:attribute` or, of Python, `module.attribute`.
    pub(super) fn parse(text: &str, runtime: &Runtime) -> Option<Self> {
        let (module, attribute) = match (text.split_once(':'), runtime) {
            (Some(parts), _) => parts,
            (None, Runtime::Python(_)) => text.rsplit_once('.')?,
            // `main.js` is a file, and not `js` of `main`.
            (None, Runtime::Loader(_)) => return None,
        };
        Self::of(module.trim(), attribute.trim(), runtime)
    }

    /// A handler of a module and an attribute that were written apart.
    pub(super) fn of(module: &str, attribute: &str, runtime: &Runtime) -> Option<Self> {
        let fits = match runtime {
            Runtime::Python(_) => parted(module, '.', is_module) && parted(attribute, '.', is_identifier),
            Runtime::Loader(_) => parted(module, '/', is_file) && parted(attribute, '.', is_name),
        };
        fits.then(|| Self { module: module.to_owned(), attribute: attribute.to_owned() })
    }
}

fn parted(text: &str, by: char, is_part: fn(&str) -> bool) -> bool {
    text.len() <= LONGEST && text.split(by).all(is_part)
}

/// Importable by name; `importlib` takes hyphens and leading digits, so we do.
fn is_module(part: &str) -> bool {
    !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

fn is_identifier(part: &str) -> bool {
    is_module(part) && !part.contains('-') && !part.starts_with(|c: char| c.is_ascii_digit())
}

/// Part of a path that stays in the package.
fn is_file(part: &str) -> bool {
    !part.is_empty()
        && part != "."
        && part != ".."
        && !part.contains(|c: char| c == '\\' || c == ':' || c.is_control())
}

/// A name in most languages.
fn is_name(part: &str) -> bool {
    !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::PythonWanted;

    const PYTHON: Runtime = Runtime::Python(PythonWanted::Any);

    #[test]
    fn of_a_loader_the_module_is_a_path_that_stays_in_the_package() {
        let node = Runtime::Loader("node20".to_owned());
        for (text, module, attribute) in
            [("main:run", "main", "run"), ("src/main.mjs:Agent.invoke", "src/main.mjs", "Agent.invoke")]
        {
            let handler = Handler { module: module.to_owned(), attribute: attribute.to_owned() };
            assert_eq!(Handler::parse(text, &node), Some(handler), "{text}");
        }
        for text in ["", "main.js", "../x:y", "/etc/x:y", "a//b:c", "a:b:c", "a:", ":b", "a:b()", "a\0:b"] {
            assert_eq!(Handler::parse(text, &node), None, "{text}");
        }
    }

    #[test]
    fn handlers_are_a_module_and_an_attribute() {
        for (text, module, attribute) in [
            ("src.main:handler", "src.main", "handler"),
            ("agent.hello", "agent", "hello"),
            ("a.b.c", "a.b", "c"),
            ("main:Agent.invoke", "main", "Agent.invoke"),
            ("my-agent.main: run", "my-agent.main", "run"),
            ("modül:größe", "modül", "größe"),
        ] {
            assert_eq!(Handler::parse(text, &PYTHON), Handler::of(module, attribute, &PYTHON), "{text}");
            assert!(Handler::parse(text, &PYTHON).is_some(), "{text}");
        }
        for text in [
            "",
            "main",
            ":",
            "a:",
            ":b",
            "a:b:c",
            "a..b:c",
            "../x:y",
            "a/b:c",
            "os:system()",
            ".a",
            "a.",
            "a:1b",
            "a b:c",
        ] {
            assert_eq!(Handler::parse(text, &PYTHON), None, "{text}");
        }
    }
}
