//! A registry: the bytes of its index enter, what to bring and what to take away leaves. Nothing is fetched
//! and nothing is mounted here.

pub mod cadence;
mod entry;
pub mod index;
mod place;
pub mod plan;

pub use cadence::next_poll;
pub use entry::{Entry, EntryFault};
pub use index::{Index, IndexError};
pub use plan::{Choice, Known, Plan, choose, plan};
