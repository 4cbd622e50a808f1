//! Sessions: named states that live in one worker. Whose they are, when they are over, and that their end is told.
//!
//! A call enters with a [`Claim`] and gets a [`Visit`]; [`Keeper`] decides by a [`table`](self) per package name, which
//! is pure. What a session lives in is not known here: `fleet` brings it. Every end leaves a mark that the session's next
//! call is answered with, exactly once; then the id is free. Marks outlive the process (`record`).

mod ending;
mod expiry;
mod keeper;
mod key;
mod record;
mod table;
mod visit;

pub use ending::{Ending, Loss};
pub use expiry::{Caps, Full};
pub(crate) use expiry::{Limits, Resting, evict, excess};
pub use keeper::Denied;
pub(crate) use keeper::{Held, Keeper, Seen};
pub use key::{BadSessionId, Claim, Owner, SessionId};
pub(crate) use visit::{Turn, Visit};
