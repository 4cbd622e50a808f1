//! From a raw path to what answers it. Pure: the table of agents is an argument.

mod layout;
mod table;

pub(crate) use layout::{Layout, Single, below};
pub(crate) use table::{Place, Target, route};
