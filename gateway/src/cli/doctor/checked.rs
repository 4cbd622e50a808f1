//! What a check came to: a verdict, what was found, and what cures it.

use serde::Serialize;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and somebody should know.
    Warning,
    /// `par serve` would not start, or calls would fail.
    Failed,
    /// There is nothing to check, or no way to.
    Skipped,
}

impl Verdict {
    /// As it is shown.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// What was looked at.
    pub(super) name: String,
    /// How it came out.
    pub(super) verdict: Verdict,
    /// What was found, in one line.
    pub(super) found: String,
    /// What to do about it; warnings and failures have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

impl Check {
    /// All is well.
    pub(super) fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Ok, found: line(found), remedy: None }
    }

    /// There is nothing to look at.
    pub(super) fn skipped(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Skipped, found: line(why), remedy: None }
    }

    /// It works for now, or not for everybody.
    pub(super) fn warning(
        name: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(line(remedy));
        Self { name: name.into(), verdict: Verdict::Warning, found: line(found), remedy }
    }

    /// It does not work.
    pub(super) fn failed(
        name: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(line(remedy));
        Self { name: name.into(), verdict: Verdict::Failed, found: line(found), remedy }
    }
}

/// Texts of others may have several lines.
fn line(text: impl Into<String>) -> String {
    text.into().split_whitespace().collect::<Vec<_>>().join(" ")
}
