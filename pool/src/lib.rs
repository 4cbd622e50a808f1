//! Packages to running agents: everything of the runtime that knows neither HTTP nor pingora.
//!
//! `package` turns a source into an installed package, `process` runs one template and one worker, `fleet` runs
//! many of them and routes calls. [`fleet::Pool`] is the front door. `registry` reads what an index wants, `session` knows whose
//! calls belong together.

pub mod fleet;
pub mod package;
pub mod process;
pub mod registry;
pub mod session;
