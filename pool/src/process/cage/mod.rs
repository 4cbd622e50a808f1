//! What a package may take as a whole: processes, and memory beside its workers'. A package's start enters; a
//! cage leaves that counts all that it starts, ends what is too much, and at its own end all that is left.
//!
//! Counting needs no privilege: every process carries its package's mark (`mark.rs`), which forks, new
//! sessions and adoption by the runtime do not change. Where a cgroup was delegated, the kernel keeps the same bounds
//! (`cgroup.rs`), so that nothing happens between two looks either.

mod census;
mod cgroup;
mod mark;
mod sweep;
mod watch;

pub use cgroup::prepare;
pub(crate) use mark::Mark;
pub(crate) use watch::{Cage, Member, close_all};
