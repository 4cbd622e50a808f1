//! Entry strings: `module:function` and its shorter forms enter, a [`Handler`] leaves.

use super::checked::Handler;

impl Handler {
    /// Reads `module:attribute` or `module.attribute`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (module, attribute) = match text.split_once(':') {
            Some(parts) => parts,
            None => text.rsplit_once('.')?,
        };
        Self::of(module.trim(), attribute.trim())
    }

    /// A handler of a module and an attribute that were written apart.
    pub(super) fn of(module: &str, attribute: &str) -> Option<Self> {
        let dotted =
            |text: &str, is_part: fn(&str) -> bool| text.len() <= 256 && text.split('.').all(is_part);
        (dotted(module, is_module) && dotted(attribute, is_identifier))
            .then(|| Self { module: module.to_owned(), attribute: attribute.to_owned() })
    }
}

/// Importable by name; `importlib` takes hyphens and leading digits, so we do.
fn is_module(part: &str) -> bool {
    !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

fn is_identifier(part: &str) -> bool {
    is_module(part) && !part.contains('-') && !part.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(Handler::parse(text), Handler::of(module, attribute), "{text}");
            assert!(Handler::parse(text).is_some(), "{text}");
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
            assert_eq!(Handler::parse(text), None, "{text}");
        }
    }
}
