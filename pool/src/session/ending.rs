//! How a session ends, in words that its caller may see.

use std::fmt;

use par_proto::code::Code;

/// Why a session was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Its worker died.
    Crash,
    /// Its worker was over its memory.
    Oom,
    /// Memory was short and it had not been used for longest, or an operator ended it.
    Evicted,
    /// Its version was replaced, and the time to finish was over.
    Rollout,
    /// The runtime went down.
    Shutdown,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It did no work for `session.idle_ttl`.
    Idle,
    /// It lived for `session.max_ttl`.
    Aged,
    /// What it lived in is gone.
    Lost(Loss),
}

impl Loss {
    /// As problem documents and log lines name it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Oom => "oom",
            Self::Evicted => "evicted",
            Self::Rollout => "rollout",
            Self::Shutdown => "shutdown",
        }
    }
}

impl Ending {
    /// What its next call is answered, once.
    pub const fn code(self) -> Code {
        match self {
            Self::Idle | Self::Aged => Code::SessionExpired,
            Self::Lost(_) => Code::SessionLost,
        }
    }

    /// For log lines.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Aged => "max_ttl",
            Self::Lost(loss) => loss.text(),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self {
            Self::Idle => return f.write_str("the session expired: nobody used it for its idle_ttl"),
            Self::Aged => return f.write_str("the session expired: it reached its max_ttl"),
            Self::Lost(Loss::Crash) => "its worker died",
            Self::Lost(Loss::Oom) => "its worker used more memory than it may",
            Self::Lost(Loss::Evicted) => "it was taken out, for memory or by an operator",
            Self::Lost(Loss::Rollout) => "its version was replaced",
            Self::Lost(Loss::Shutdown) => "the runtime was restarted",
        };
        write!(f, "the session was lost ({}): {why}", self.text())
    }
}
