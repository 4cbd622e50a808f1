//! What gRPC and the runtime's own services say: bytes and texts in, values and bytes out. Nothing here has an effect.

mod action;
mod agent;
mod descriptor;
mod framing;
mod health;
mod metadata;
mod path;
mod reflection;
mod wire;

pub(crate) use action::{Action, ActionResult, Asked};
pub(crate) use agent::{Skill, capabilities, health_status, pong};
pub(crate) use descriptor::Library;
pub(crate) use framing::{Flaw, Inbox, framed};
pub(crate) use health::{Serving, health_check};
pub(crate) use metadata::{encoded_message, timeout};
pub(crate) use path::{Service, wanted};
pub(crate) use reflection::answer as reflect;
pub(crate) use wire::Malformed;
