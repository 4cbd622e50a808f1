//! What is wrong with a configuration: all of it at once, each fault with the name it was given under.

use std::{fmt, path::PathBuf};

use super::raw::Setting;

/// Where a value came from. Stronger ones first: flag, environment, file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The command line.
    Flag,
    /// A variable.
    Environment,
    /// The file of `-c` or `PAR_CONFIG`.
    File(PathBuf),
}

impl Origin {
    /// The name under which this origin knows a setting.
    pub(crate) fn name(&self, setting: &Setting) -> &'static str {
        match self {
            Self::Flag => setting.flag.unwrap_or(setting.key),
            Self::Environment => setting.variable.unwrap_or(setting.key),
            Self::File(_) => setting.key,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("command line"),
            Self::Environment => f.write_str("environment"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// One fault: `PORT (environment): "0" is not a port between 1 and 65535`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} ({origin}): {problem}")]
pub(crate) struct Fault {
    /// The flag, variable or key.
    pub(crate) name: String,
    /// Where it came from.
    pub(crate) origin: Origin,
    /// What is wrong, and what would be right.
    pub(crate) problem: String,
}

/// Every fault of one configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
