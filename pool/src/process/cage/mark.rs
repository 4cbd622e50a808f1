//! The number that all processes of a package carry: their limit of message queues, which children inherit,
//! nobody may raise, filters let nobody lower, and everybody can read.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

/// Marks in use at a time are few; this many are below the limit that Linux gives by default (819,200), which
/// is no mark.
const MARKS: u64 = 1 << 16;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A package's number among those of one runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Mark {
    /// One that no living package has.
    pub(super) fn next() -> Self {
        Self(NEXT.fetch_add(1, Ordering::Relaxed) % MARKS + 1)
    }

    /// The limit that a process gets: bytes of message queues.
    pub(crate) fn bytes(self) -> u64 {
        self.0
    }

    /// The one that a process carries. Source: proc(5), `limits`.
    pub(super) fn of(pid: u32) -> Option<Self> {
        Self::read(&fs::read_to_string(format!("/proc/{pid}/limits")).ok()?)
    }

    fn read(limits: &str) -> Option<Self> {
        let line = limits.lines().find_map(|line| line.strip_prefix("Max msgqueue size"))?;
        let hard = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
        (1..=MARKS).contains(&hard).then_some(Self(hard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_from_the_hard_limit_and_the_usual_limit_is_none() {
        let line = |soft: &str, hard: &str| {
            Mark::read(&format!(
                "Max pending signals  7 7 signals\nMax msgqueue size   {soft}   {hard}   bytes\n"
            ))
        };
        assert_eq!(line("3", "17"), Some(Mark(17)));
        for usual in ["819200", "unlimited", "0"] {
            assert_eq!(line("3", usual), None, "{usual}");
        }
        assert_eq!(Mark::of(std::process::id()), None);
    }
}
