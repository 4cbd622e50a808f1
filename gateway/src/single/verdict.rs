//! What a failed boot means to whoever started the container: the error in, the exit code and the texts out.

use par_pool::{
    fleet::LoadError,
    package::{Cause, PullError, Step},
};

use crate::exit::Exit;

/// Why the container gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// How the process ends.
    pub(super) exit: Exit,
    /// The phase that failed.
    pub(super) step: &'static str,
    /// The cause, in one sentence.
    pub(super) detail: String,
    /// Output of tools and chains of causes; may be empty.
    pub(super) output: String,
}

impl Verdict {
    /// About a surface of ours or of the package, after the package was loaded.
    pub(super) fn serving(exit: Exit, detail: impl Into<String>) -> Self {
        Self { exit, step: Step::Serve.text(), detail: detail.into(), output: String::new() }
    }

    /// About a package that was not mounted; `None` if the process was told to stop meanwhile.
    pub(super) fn of(error: &LoadError) -> Option<Self> {
        let (step, detail) = error.step();
        let (exit, output) = match error {
            LoadError::Stopping => return None,
            LoadError::Refused(error) => (exit(error), error.log.clone()),
            // Another version of the package, kept from an earlier life of the data directory, stands in the way.
            LoadError::Conflict(_) | LoadError::Full { .. } | LoadError::Superseded(_) => {
                (Exit::Failed, String::new())
            }
        };
        Some(Self { exit, step: step.text(), detail, output })
    }
}

fn exit(error: &PullError) -> Exit {
    match (error.step, error.cause) {
        (Step::Environment, _) => Exit::Install,
        (_, Cause::Host | Cause::Surface) => Exit::Failed,
        (_, Cause::Late) => Exit::Late,
        // A signature that could not be had is a source, too.
        (Step::Fetch, Cause::Missing | Cause::Forbidden | Cause::Other) => Exit::Unreachable,
        (Step::Verify, _) if error.transient => Exit::Unreachable,
        (
            Step::Fetch
            | Step::Verify
            | Step::Unpack
            | Step::Manifest
            | Step::Template
            | Step::Probe
            | Step::Serve
            | Step::Mount,
            Cause::Missing | Cause::Forbidden | Cause::TooLarge | Cause::Other,
        ) => Exit::Package,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_the_exit_code_of_the_contract() {
        let refused = |step, cause| PullError::refused(step, "so").because(cause);
        for (error, code) in [
            (refused(Step::Fetch, Cause::Forbidden), 69),
            (refused(Step::Fetch, Cause::Missing), 69),
            (PullError::transient(Step::Fetch, "so"), 69),
            (refused(Step::Fetch, Cause::TooLarge), 65),
            (refused(Step::Fetch, Cause::Host), 70),
            (refused(Step::Verify, Cause::Other), 65),
            (PullError::transient(Step::Verify, "so"), 69),
            (refused(Step::Unpack, Cause::Other), 65),
            (refused(Step::Unpack, Cause::Host), 70),
            (refused(Step::Manifest, Cause::Other), 65),
            (refused(Step::Environment, Cause::Other), 74),
            (PullError::transient(Step::Environment, "so"), 74),
            (refused(Step::Environment, Cause::Host), 74),
            (refused(Step::Template, Cause::Other), 65),
            (refused(Step::Template, Cause::Late), 75),
            (refused(Step::Template, Cause::Host), 70),
            (refused(Step::Probe, Cause::Other), 65),
            (refused(Step::Probe, Cause::Late), 75),
            (refused(Step::Serve, Cause::Other), 65),
            (refused(Step::Serve, Cause::Surface), 70),
            (refused(Step::Serve, Cause::Late), 75),
        ] {
            let verdict = Verdict::of(&LoadError::Refused(error.clone())).unwrap();
            assert_eq!(verdict.exit.number(), code, "{error:?}");
            assert_eq!(verdict.step, error.step.text());
        }
        assert_eq!(Verdict::of(&LoadError::Stopping), None);
        let full = LoadError::Full { package: "x".to_owned(), limit: 1 };
        assert_eq!(Verdict::of(&full).unwrap().exit, Exit::Failed);
    }
}
