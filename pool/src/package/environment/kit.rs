//! What surfaces are served with when a package does not bring it: environments of ours that rank behind its own.

use std::path::Path;

use crate::package::Surfaces;

/// What one kind of surface needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kit {
    /// An ASGI server, and FastAPI for functions that mount on an application they are given.
    Rest,
    /// gRPC for Python.
    A2a,
}

impl Kit {
    /// For people.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Rest => "REST",
            Self::A2a => "A2A",
        }
    }

    /// Requirement lines. Bounds are those of the versions that the server half was run with.
    pub(super) fn lines(self) -> Vec<String> {
        let lines: &[&str] = match self {
            Self::Rest => &[
                "fastapi>=0.110,<1",
                "uvicorn>=0.29,<1",
                "websockets>=12,<17",
                "httptools>=0.6,<1",
                "uvloop>=0.19,<1",
            ],
            Self::A2a => &["grpcio>=1.60,<2", "protobuf>=4.25,<8"],
        };
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    /// Packages by which it is told whether it is there already.
    const fn modules(self) -> &'static [&'static str] {
        match self {
            Self::Rest => &["fastapi", "uvicorn", "websockets"],
            Self::A2a => &["grpc", "google/protobuf"],
        }
    }

    /// The kits that these surfaces need and these directories of an import path do not have. What an A2A entry returns
    /// may be an HTTP application, so it needs both.
    pub(super) fn missing(surfaces: &Surfaces, path: &[&Path]) -> Vec<Self> {
        let wanted: &[Self] = match (&surfaces.rest, &surfaces.a2a) {
            (_, Some(_)) => &[Self::Rest, Self::A2a],
            (Some(_), None) => &[Self::Rest],
            (None, None) => &[],
        };
        let has = |module: &&str| path.iter().any(|directory| directory.join(module).is_dir());
        wanted.iter().filter(|kit| !kit.modules().iter().all(has)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{Entry, Handler};

    #[test]
    fn only_what_a_package_does_not_bring_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("a"), directory.path().join("b"));
        let path = [first.as_path(), second.as_path()];
        let handler = || Handler { module: "m".into(), attribute: "f".into() };
        let entry = || Some(Entry::Function(handler()));
        let rest = Surfaces { rest: entry(), ..Surfaces::default() };
        let a2a = Surfaces { a2a: entry(), ..Surfaces::default() };
        assert_eq!(Kit::missing(&Surfaces::default(), &path), []);
        assert_eq!(Kit::missing(&rest, &path), [Kit::Rest]);
        assert_eq!(Kit::missing(&a2a, &path), [Kit::Rest, Kit::A2a]);
        for module in ["fastapi", "uvicorn"] {
            std::fs::create_dir_all(first.join(module)).unwrap();
        }
        assert_eq!(Kit::missing(&rest, &path), [Kit::Rest]);
        std::fs::create_dir_all(second.join("websockets")).unwrap();
        assert_eq!(Kit::missing(&rest, &path), []);
        assert_eq!(Kit::missing(&a2a, &path), [Kit::A2a]);
    }
}
