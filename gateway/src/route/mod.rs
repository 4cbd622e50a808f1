//! From a raw path to what answers it. Pure: the table of agents is an argument.

mod table;

pub(crate) use table::{Target, route};
