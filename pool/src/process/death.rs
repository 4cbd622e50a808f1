//! Why a worker is gone, in words that a caller may see.

use std::fmt;

/// Why a worker is gone. The label is a metric label; the display is part of the caller's problem document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Death {
    /// It ended itself.
    Exited(i32),
    /// A signal ended it.
    Signalled(i32),
    /// We ended it: a call ran past its deadline.
    Timeout,
    /// We ended it: over its memory.
    OutOfMemory {
        /// The limit in MB.
        limit_mb: u64,
    },
    /// We ended it, with all that its package had started: too many.
    Crowded {
        /// Most processes and threads of a package.
        limit: u32,
    },
    /// What it wrote was not a frame.
    Garbage(String),
    /// It closed its socket, and nobody saw its exit.
    Vanished,
    /// We ended it in the course of events: idle, drained, shutdown.
    Retired,
}

/// Why what listens to a worker has ended.
#[derive(Debug)]
pub(crate) enum Closed {
    /// End of file or a socket error.
    Ended,
    /// What came was not a frame.
    Garbage(String),
}

impl Death {
    /// From a raw wait status.
    pub(crate) fn from_wait_status(status: i32) -> Self {
        let signal = status & 0x7f;
        if signal == 0 { Self::Exited((status >> 8) & 0xff) } else { Self::Signalled(signal) }
    }

    /// The metric label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Exited(_) => "exit",
            Self::Signalled(_) => "signal",
            Self::Timeout => "timeout",
            Self::OutOfMemory { .. } => "oom",
            Self::Crowded { .. } => "processes",
            Self::Garbage(_) => "garbage",
            Self::Vanished => "vanished",
            Self::Retired => "retired",
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "the worker exited with status {code}"),
            Self::Signalled(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "the worker was killed by {name}"),
                None => write!(f, "the worker was killed by signal {signal}"),
            },
            Self::Timeout => f.write_str("the worker was stopped: a call ran past its deadline"),
            Self::OutOfMemory { limit_mb } => {
                write!(f, "the worker was killed: it used more than its {limit_mb} MB of memory")
            }
            Self::Crowded { limit } => {
                write!(
                    f,
                    "the worker was killed: its package started more than {limit} processes and threads"
                )
            }
            Self::Garbage(what) => {
                write!(f, "the worker was killed: it wrote garbage to the runtime's descriptors ({what})")
            }
            Self::Vanished => f.write_str("the worker closed its connection to the runtime"),
            Self::Retired => f.write_str("the worker was retired"),
        }
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL (out of memory, or somebody killed it)",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses_are_told_in_words() {
        assert_eq!(Death::from_wait_status(3 << 8).to_string(), "the worker exited with status 3");
        assert!(Death::from_wait_status(0x8b).to_string().contains("SIGSEGV"));
        assert!(Death::from_wait_status(9).to_string().contains("SIGKILL"));
        assert_eq!(Death::from_wait_status(40).to_string(), "the worker was killed by signal 40");
    }
}
