//! The page for people at `/runtime/dashboard`: an open shell without data, and the stream of figures that fills it.

mod page;
mod stream;

pub(super) use page::page;
pub(crate) use stream::Observatory;
pub(super) use stream::figures;
pub(super) use {page::__path_page, stream::__path_figures};
