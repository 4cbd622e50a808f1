//! Single mode: one container, one agent.

use std::{fmt, net::SocketAddr, time::Duration};

/// What only single mode has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Single {
    /// `AGENT_APP_ID`: who this is, in every log line and as an agent id.
    pub(crate) agent_app_id: String,
    /// Below which path the agent is reached.
    pub(crate) base_path: BasePath,
    /// Whether the agent's own routes are also at `/`.
    pub(crate) root_routes: bool,
    /// Whether the UI is also below the base path.
    pub(crate) multiplexed: bool,
    /// Where the UI is served at `/`.
    pub(crate) ui: SocketAddr,
    /// A boot that takes longer is told with the times of its phases.
    pub(crate) boot_budget: Duration,
    /// Failed boots in a row that somebody outside has counted.
    pub(crate) boot_failures: u32,
}

/// A normalised prefix: `/`, or segments without an end in a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BasePath(String);

impl BasePath {
    /// Of `^/[A-Za-z0-9/_.-]*$`; doubled and trailing slashes go, `.` and `..` are refused: a client would resolve them,
    /// and ask for another path than was meant.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '-');
        if !text.starts_with('/') || !text.chars().all(fits) {
            return Err(format!("{text:?} is not a path like /agents/my-agent: / and A-Z a-z 0-9 _ . -"));
        }
        let segments: Vec<_> = text.split('/').filter(|segment| !segment.is_empty()).collect();
        if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
            return Err(format!("{text:?} has . or .. as a segment"));
        }
        Ok(Self(format!("/{}", segments.join("/"))))
    }

    /// `/agents/{id}`.
    pub(super) fn of_agent(id: &str) -> Self {
        Self(format!("/agents/{id}"))
    }

    /// Without a slash at the end; the root is empty, so that `{prefix}/x` is always right.
    pub(crate) fn prefix(&self) -> &str {
        self.0.trim_end_matches('/')
    }
}

/// As a path: `/` or `/agents/x`.
impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_paths_are_normalised() {
        for (text, path, prefix) in [
            ("/", "/", ""),
            ("//", "/", ""),
            ("/agents/x", "/agents/x", "/agents/x"),
            ("/agents/x/", "/agents/x", "/agents/x"),
            ("//agents///x//", "/agents/x", "/agents/x"),
            ("/a.b/..c/-_", "/a.b/..c/-_", "/a.b/..c/-_"),
        ] {
            let parsed = BasePath::parse(text).unwrap();
            assert_eq!((parsed.to_string().as_str(), parsed.prefix()), (path, prefix), "{text}");
        }
        for text in ["", "agents/x", "/a/../b", "/..", "/./a", "/a b", "/a%2Fb", "/ä", "/a?b", "https://x/"]
        {
            assert!(BasePath::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(BasePath::of_agent("x").to_string(), "/agents/x");
    }
}
