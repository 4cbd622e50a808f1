//! Many processes: generations, slots, queues, and the one table that says which agent is where.

mod backoff;
mod book;
mod directory;
mod event;
mod generation;
mod growth;
mod homes;
mod installers;
mod load;
mod metrics;
mod order;
mod pool;
mod report;
mod slots;
mod snapshot;
mod starting;
mod state;
mod status;
mod supervisor;
mod ticket;
mod window;

pub use directory::{Agent, Directory, Mount};
pub use event::{Event, EventKind, EventSink, Live};
pub use generation::{Answer, Call, Generation, Outcome};
pub use homes::Homes;
pub use metrics::PoolMetrics;
pub use order::compare as compare_versions;
pub use pool::{LoadError, LoadOptions, Loaded, Pool, PoolSettings, Unloaded};
pub use status::{AgentState, AgentStatus, Failure, ForkStatus, PackageStatus, WorkerStatus};
