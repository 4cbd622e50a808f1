//! What a configuration was made of, so that it can be read again and compared. It holds secrets and shows none.

use std::{collections::BTreeMap, fmt};

use super::{
    Config, Environment, Faults, Flags,
    raw::{OPERATOR_TOKEN, Written},
};

/// Where to read again, and what stood there.
#[derive(Clone, Default)]
pub(crate) struct Given {
    flags: Flags,
    environment: Environment,
    written: BTreeMap<&'static str, Written>,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given(…)")
    }
}

impl Given {
    /// Of one reading.
    pub(super) fn new(
        flags: &Flags,
        environment: &Environment,
        written: BTreeMap<&'static str, Written>,
    ) -> Self {
        Self { flags: flags.clone(), environment: environment.clone(), written }
    }
}

impl Config {
    /// Reads the file and what references lead to once more, and checks everything. Flags and variables are those of
    /// the start: nobody can change them from outside.
    ///
    /// # Errors
    /// Every fault of what stands there now.
    pub(crate) fn again(&self) -> Result<Self, Faults> {
        Self::load(&self.given.flags, &self.given.environment)
    }

    /// The keys for which `next` was given something else, by name. Of a reference counts what it leads to, and of two
    /// origins the stronger one.
    pub(crate) fn changed(&self, next: &Self) -> Vec<&'static str> {
        let (before, after) = (&self.given.written, &next.given.written);
        let mut keys: Vec<_> =
            before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key)).collect();
        // The token stands in a file whose name stays the same.
        if self.operator_token != next.operator_token {
            keys.push(&OPERATOR_TOKEN.key);
        }
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_were_given_something_else_are_named_and_no_secret_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let (file, secret) = (folder.path().join("par.yaml"), folder.path().join("secret"));
        let write = |level: &str, hidden: &str| {
            let text = format!(
                "log: {{level: {level}, format: json}}\nwebhooks: {{url: 'http://127.0.0.1:9', secret: 'file:{}'}}\n",
                secret.display()
            );
            std::fs::write(&file, text).unwrap();
            std::fs::write(&secret, hidden).unwrap();
        };
        write("info", "a-secret-of-many-letters");
        let flags = Flags { file: Some(file.clone()), ..Flags::default() };
        let environment: Environment =
            [("PAR_DATA_DIR", folder.path().to_str().unwrap()), ("LOG_FORMAT", "text")].into_iter().collect();
        let first = Config::load(&flags, &environment).unwrap();
        assert_eq!(first.changed(&first.again().unwrap()), [""; 0]);
        assert!(!format!("{first:?}").contains("many-letters"));
        write("debug", "another-secret-of-letters");
        assert_eq!(first.changed(&first.again().unwrap()), ["log.level", "webhooks.secret"]);
        std::fs::write(&file, "log: {format: text}\n").unwrap();
        // The variable is stronger than what the file says about the format.
        assert_eq!(first.changed(&first.again().unwrap()), ["log.level", "webhooks.secret", "webhooks.url"]);
        std::fs::write(&file, "log: {level: loud}\n").unwrap();
        assert!(first.again().unwrap_err().to_string().contains("log.level"));
    }
}
