//! What packages may reach of this host.

use std::path::{Path, PathBuf, absolute};

use par_pool::process::{SandboxMode, SandboxSettings};

use super::{Check, Origin, Setting, parse, raw};

impl Check<'_> {
    /// The sandbox; `file` is the one that the settings come from.
    pub(super) fn sandbox(
        &mut self,
        data_dir: &Path,
        file: Option<PathBuf>,
        warnings: &mut Vec<String>,
    ) -> SandboxSettings {
        let default = SandboxSettings::default();
        let mode = self.value(&raw::SANDBOX, default.mode, mode);
        if mode == SandboxMode::Off {
            warnings.push("the sandbox is off: packages reach all that the user of PAR reaches".to_owned());
        }
        let read = self.list(&raw::SANDBOX_READ, existing);
        if let Some(inside) = read.iter().find(|path| path.starts_with(data_dir)) {
            let problem = format!("{} lies in the data directory, which no package sees", inside.display());
            self.fault(&raw::SANDBOX_READ, problem);
        }
        let keys = [&raw::OPERATOR_TOKEN, &raw::TLS_KEY].map(|setting| self.named_file(setting));
        SandboxSettings {
            mode,
            read,
            hidden: keys.into_iter().flatten().chain(file).collect(),
            processes: self.value(&raw::SANDBOX_PROCESSES, default.processes, processes),
            file_bytes: self.value(&raw::SANDBOX_FILE_BYTES, default.file_bytes, parse::bytes),
        }
    }

    /// A file that a setting names: in the environment, an operator token is no path but the token itself.
    fn named_file(&self, setting: &Setting) -> Option<PathBuf> {
        let (written, origin) = self.raw.get(setting)?;
        let super::Written::One(text) = written else { return None };
        if *setting == raw::OPERATOR_TOKEN && !matches!(origin, Origin::File(_)) {
            return None;
        }
        absolute(text.trim()).ok()
    }
}

fn mode(text: &str) -> Result<SandboxMode, String> {
    match text {
        "auto" => Ok(SandboxMode::Auto),
        "require" => Ok(SandboxMode::Require),
        // YAML reads a bare `off` as false.
        "off" | "false" => Ok(SandboxMode::Off),
        _ => Err(format!("{text:?} is not one of auto, require, off")),
    }
}

fn existing(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(format!("{text:?} is not an absolute path"));
    }
    path.canonicalize().map_err(|error| format!("{text:?}: {error}"))
}

/// At least the template, a worker, and a thread of each.
fn processes(text: &str) -> Result<u32, String> {
    let count = text.parse().ok().filter(|count| *count >= 4);
    count.ok_or_else(|| format!("{text:?} is not a whole number of at least 4"))
}

#[cfg(test)]
mod tests {
    use super::{super::super::Flags, *};
    use crate::config::{Config, Environment};

    fn load(yaml: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), yaml).unwrap();
        let flags = Flags { file: Some(file.path().to_owned()), ..Flags::default() };
        Config::load(&flags, &Environment::default()).map_err(|faults| faults.to_string())
    }

    #[test]
    fn without_a_word_the_sandbox_is_on() {
        let sandbox = load("{}").unwrap().sandbox;
        assert_eq!((sandbox.mode, sandbox.processes, sandbox.file_bytes), (SandboxMode::Auto, 512, 1 << 30));
        assert!(sandbox.read.is_empty());
    }

    #[test]
    fn the_files_of_secrets_are_hidden_and_off_is_warned_about() {
        let keys = tempfile::tempdir().unwrap();
        let token = keys.path().join("token");
        std::fs::write(&token, "a-token-that-was-given").unwrap();
        let config = load(&format!("sandbox: off\noperator_token_file: {}\n", token.display())).unwrap();
        assert_eq!(config.sandbox.mode, SandboxMode::Off);
        assert!(config.sandbox.hidden.contains(&token), "{:?}", config.sandbox.hidden);
        assert_eq!(config.sandbox.hidden.len(), 2, "the file of settings, too");
        assert!(config.warnings.iter().any(|warning| warning.contains("sandbox")), "{:?}", config.warnings);
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (yaml, words) in [
            ("sandbox: maybe", "auto, require, off"),
            ("sandbox_read: [models]", "absolute"),
            ("sandbox_read: [/no/such/place]", "No such file"),
            ("data_dir: /usr\nsandbox_read: [/usr/lib]", "data directory"),
            ("sandbox_processes: 1", "at least 4"),
            ("sandbox_file_bytes: 0", "is not a size"),
        ] {
            let told = load(yaml).map(|_| ()).unwrap_err();
            assert!(told.contains(words), "{yaml}: {told}");
        }
    }
}
