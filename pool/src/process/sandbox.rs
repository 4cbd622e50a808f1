//! What a package's processes may reach: little, and by name. A package's permissions and a command enter, a
//! command that confines itself between fork and exec leaves, and how much of it this kernel enforces.
//!
//! Layers, none of which needs a privilege: Landlock grants paths and ports by name (`paths.rs`, `rules.rs`),
//! seccomp refuses system calls that no agent needs (`seccomp.rs`), limits bound what one process may hold
//! (`limits.rs`), all capabilities are dropped (`entry.rs`). Workers inherit all of it from their template,
//! and each enters one more domain of its own after its fork, so that it reaches neither its template nor its
//! siblings.

mod entry;
mod filter;
mod level;
mod limits;
mod lodging;
mod own;
mod paths;
mod permissions;
mod rules;
mod seccomp;
mod settings;
mod shield;

pub(crate) use entry::Entry;
pub use level::SandboxLevel;
pub(crate) use lodging::Lodging;
pub(crate) use own::Own;
pub use permissions::SandboxError;
pub use settings::{SandboxMode, SandboxSettings};
pub use shield::{Bounds, Roots, Shield};
pub(crate) use shield::{Inner, Offspring};
