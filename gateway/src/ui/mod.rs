//! The UI of a package: static files, straight from its directory. A path in, a file and what of it is to be sent out;
//! whoever answers writes it.
//!
//! `site.rs` lists what there is, once: a path that is not in the list is no file, whatever it says. `answer.rs` decides
//! what a request gets (pure), `shelf.rs` keeps what is asked for often.

mod answer;
mod coding;
mod date;
mod file;
mod name;
mod range;
mod shelf;
mod site;

pub(crate) use answer::{Answer, Facts, decide, navigates};
pub(crate) use file::File;
pub(crate) use range::{Asked, parse as parse_range};
pub(crate) use shelf::{Content, Shelf};
pub(crate) use site::{Found, Site};
