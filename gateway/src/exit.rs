//! How the process ends; the numbers are those of `sysexits.h` where it has one.

use std::process::ExitCode;

/// How a command, or the service, ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// The running `par` refused, or a check found what should not be.
    Refused,
    /// The command line, the environment or the file is wrong.
    Configuration,
    /// The package would be refused, or was.
    Package,
    /// A source, or a running `par`, cannot be reached.
    Unreachable,
    /// A surface or we failed ourselves.
    Failed,
    /// What the package needs could not be installed.
    Install,
    /// The package was not ready in its time.
    Late,
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Configuration => 64,
            Self::Package => 65,
            Self::Unreachable => 69,
            Self::Failed => 70,
            Self::Install => 74,
            Self::Late => 75,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}
