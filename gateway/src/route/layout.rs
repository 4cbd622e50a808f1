//! Where routes are: many packages below `/agents/{id}`, or one that has a base path of its own besides.

/// Where routes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Many packages, each below `/agents/{id}`.
    Host,
    /// One package: there as well, and below its base path.
    #[cfg_attr(not(test), expect(dead_code, reason = "made where the process serves one package"))]
    Single(Single),
}

/// The routes of the one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Single {
    /// `AGENT_APP_ID`.
    pub(crate) id: Box<str>,
    /// `BASE_PATH` without a slash at its end: empty for `/`.
    pub(crate) base: Box<str>,
    /// Whether its routes are at `/` as well. With an empty base they always are.
    pub(crate) root: bool,
    /// Whether its UI is below them, too.
    pub(crate) multiplexed: bool,
}

impl Single {
    /// Whether its base is where its routes are anyway.
    pub(super) fn is_usual(&self) -> bool {
        self.base.strip_prefix("/agents/") == Some(&*self.id)
    }
}

/// What follows `base` in `path`, if that lies below it: nothing, or a path.
pub(crate) fn below<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}
