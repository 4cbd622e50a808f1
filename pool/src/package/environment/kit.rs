//! Environments of ours that rank behind a package's own: what its surfaces are served with, and what it asks for by
//! name, if it does not bring it.

use std::path::Path;

use crate::package::{Kit, Surfaces};

impl Kit {
    /// For people.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Rest => "REST",
            Self::A2a => "A2A",
            Self::Data => "data",
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
            Self::Data => &["numpy>=1.26,<3", "pandas>=2.2,<4", "matplotlib>=3.8,<4"],
        };
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    /// Packages by which it is told whether it is there already.
    const fn modules(self) -> &'static [&'static str] {
        match self {
            Self::Rest => &["fastapi", "uvicorn", "websockets"],
            Self::A2a => &["grpc", "google/protobuf"],
            Self::Data => &["numpy", "pandas", "matplotlib"],
        }
    }

    /// The kits that a package with these surfaces needs, or names, and these directories of its import path do not have.
    pub(super) fn missing(surfaces: &Surfaces, named: &[Self], path: &[&Path]) -> Vec<Self> {
        let implied = Self::of_surfaces(surfaces);
        let has = |module: &&str| path.iter().any(|directory| directory.join(module).is_dir());
        let wanted = implied.iter().filter(|kit| !named.contains(kit)).chain(named);
        wanted.filter(|kit| !kit.modules().iter().all(has)).copied().collect()
    }

    /// What an A2A entry returns may be an HTTP application, so it needs both.
    const fn of_surfaces(surfaces: &Surfaces) -> &'static [Self] {
        match (&surfaces.rest, &surfaces.a2a) {
            (_, Some(_)) => &[Self::Rest, Self::A2a],
            (Some(_), None) => &[Self::Rest],
            (None, None) => &[],
        }
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
        assert_eq!(Kit::missing(&Surfaces::default(), &[], &path), []);
        assert_eq!(Kit::missing(&Surfaces::default(), &[Kit::Data], &path), [Kit::Data]);
        assert_eq!(Kit::missing(&rest, &[Kit::Data, Kit::Rest], &path), [Kit::Data, Kit::Rest]);
        assert_eq!(Kit::missing(&rest, &[], &path), [Kit::Rest]);
        assert_eq!(Kit::missing(&a2a, &[], &path), [Kit::Rest, Kit::A2a]);
        for module in ["fastapi", "uvicorn"] {
            std::fs::create_dir_all(first.join(module)).unwrap();
        }
        assert_eq!(Kit::missing(&rest, &[], &path), [Kit::Rest]);
        std::fs::create_dir_all(second.join("websockets")).unwrap();
        assert_eq!(Kit::missing(&rest, &[], &path), []);
        assert_eq!(Kit::missing(&a2a, &[], &path), [Kit::A2a]);
    }
}
