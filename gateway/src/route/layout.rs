//! Where routes are: many packages below `/agents/{id}`, or one that has a base path of its own besides.

/// What tells about the one package, at the root and below its base path.
pub(super) const DESCRIPTIONS: [&str; 3] = ["/meta", "/a2a/health", "/ui/health"];

/// Where routes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Many packages, each below `/agents/{id}`.
    Host,
    /// One package: there as well, and below its base path.
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

impl Layout {
    /// A path as it stands at the root: without the base path, in which the runtime's own routes are, too.
    pub(crate) fn plain<'a>(&self, path: &'a str) -> &'a str {
        match self {
            Self::Host => path,
            Self::Single(single) => below(path, &single.base).filter(|rest| !rest.is_empty()).unwrap_or(path),
        }
    }

    /// Whether a path tells about the one package, and nothing else.
    pub(crate) fn describes(&self, path: &str) -> bool {
        matches!(self, Self::Single(_)) && DESCRIPTIONS.contains(&self.plain(path))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_the_base_path_is_what_it_is_at_the_root() {
        let layout = |base: &str| {
            let (id, base) = ("x".into(), base.into());
            Layout::Single(Single { id, base, root: false, multiplexed: true })
        };
        for (layout, path, plain) in [
            (Layout::Host, "/agents/x/health", "/agents/x/health"),
            (layout("/agents/x"), "/agents/x/health", "/health"),
            (layout("/agents/x"), "/agents/x", "/agents/x"),
            (layout("/agents/x"), "/agents/xy/health", "/agents/xy/health"),
            (layout("/agents/x"), "/meta", "/meta"),
            (layout(""), "/meta", "/meta"),
        ] {
            assert_eq!(layout.plain(path), plain, "{layout:?} {path}");
        }
        assert!(layout("/t").describes("/t/a2a/health") && layout("/t").describes("/meta"));
        assert!(!Layout::Host.describes("/meta") && !layout("/t").describes("/u/meta"));
    }
}
