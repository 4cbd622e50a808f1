//! Which packages get an adapter without asking for it.

use par_pool::package::{Adapter, AdapterRule};
use serde_yaml::Value;

use super::{Check, Fault, raw};
use crate::config::raw::Written;

impl Check<'_> {
    /// Names of classes, each with the name of an adapter. A mapping replaces the default; an empty one turns it off.
    pub(super) fn package_adapters(&mut self) -> Vec<AdapterRule> {
        let Some((written, origin)) = self.raw.get(&raw::PACKAGE_ADAPTERS).cloned() else {
            return AdapterRule::declared();
        };
        let mut fault = |key: &str, problem: String| {
            let name = format!("{}{key}", raw::PACKAGE_ADAPTERS.key);
            self.faults.push(Fault { name, origin: origin.clone(), problem });
        };
        let Written::Tree(Value::Mapping(entries)) = written else {
            fault("", "must hold a mapping of classes to adapters".to_owned());
            return Vec::new();
        };
        let mut rules = Vec::new();
        for (class, adapter) in entries {
            let class = raw::scalar(&class).unwrap_or_else(|| format!("{class:?}"));
            let key = format!(".{class}");
            if !is_class(&class) {
                fault(&key, "is no name of a class".to_owned());
                continue;
            }
            match raw::scalar(&adapter).as_deref().and_then(Adapter::named) {
                Some(adapter) => rules.push(AdapterRule { class, adapter }),
                None => {
                    let known: Vec<&str> = Adapter::names().collect();
                    fault(&key, format!("there is no such adapter; there is {}", known.join(", ")));
                }
            }
        }
        rules
    }
}

fn is_class(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Environment, Flags};

    fn load(adapters: &str) -> Result<Vec<String>, Vec<String>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("packages:\n  adapters: {adapters}")).unwrap();
        let flags = Flags { file: Some(file.path().to_owned()), ..Flags::default() };
        let environment: Environment = [("HOME", "/home/me")].into_iter().collect();
        let place = format!(" ({})", file.path().display());
        Config::load(&flags, &environment)
            .map(|config| config.packages.adapters.into_iter().map(|rule| rule.class).collect())
            .map_err(|faults| faults.0.iter().map(|fault| fault.to_string().replace(&place, "")).collect())
    }

    #[test]
    fn the_default_is_replaced_by_what_is_written() {
        assert_eq!(load("").unwrap(), ["PixellAdapter"]);
        assert_eq!(load("{}").unwrap(), [""; 0]);
        assert_eq!(load("{Mine: python-executor, Yours: python-executor}").unwrap(), ["Mine", "Yours"]);
    }

    #[test]
    fn faults_name_the_class() {
        assert_eq!(
            load("{Mine: nothing, 1x: python-executor, Other: [a]}").unwrap_err(),
            [
                "packages.adapters.Mine: there is no such adapter; there is python-executor",
                "packages.adapters.1x: is no name of a class",
                "packages.adapters.Other: there is no such adapter; there is python-executor",
            ]
        );
        assert_eq!(
            load("[Mine]").unwrap_err(),
            ["packages.adapters: must hold a mapping of classes to adapters"]
        );
    }
}
