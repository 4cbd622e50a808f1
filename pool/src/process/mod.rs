//! One process at a time: a template that has imported a package, a worker forked from it, the channel between.

mod arrival;
mod cage;
mod channel;
mod control;
mod death;
mod descriptors;
mod embedded;
#[cfg(fuzzing)]
pub mod fuzzing;
mod logs;
mod mainline;
mod meter;
mod nested;
mod nursery;
mod orphans;
mod outbox;
mod pending;
mod primary;
mod priority;
mod reply;
mod sandbox;
mod side;
mod spawner;
mod stall;
mod template;
pub(crate) mod usage;
mod worker;

pub use cage::prepare as prepare_cages;
pub(crate) use cage::{Cage, close_all as close_cages};
pub(crate) use channel::Channel;
pub use control::{A2aFacts, ExportFacts, ForkVerdict, ImportFailure, Lane, Ready, RestFacts, SurfaceFacts};
pub use death::Death;
pub(crate) use embedded::{NODE, PYTHON};
pub use logs::{Origin, OutputLine, OutputSink};
pub(crate) use meter::Account;
pub use meter::Meter;
pub(crate) use nested::Over;
pub use nested::{Answering, Line};
pub use nursery::nursery;
pub use orphans::adopt_orphans;
pub use primary::Primary;
pub use reply::{CallFrame, Invoked, Item, Overrun, Reply, Ticket};
pub use sandbox::{Bounds, Roots, SandboxError, SandboxLevel, SandboxMode, SandboxSettings, Shield};
pub use template::StartError;
pub(crate) use template::{Template, TemplateSettings, kill_group};
pub(crate) use worker::{Watch, Worker};
