//! Whether a terminal gets colours. Source: the conventions of `NO_COLOR` (no-color.org) and `CLICOLOR` (bixense.com).

use std::{
    ffi::OsString,
    io::{IsTerminal as _, stderr, stdout},
};

/// For what is written to standard output.
pub(crate) fn on_stdout() -> bool {
    wanted(stdout().is_terminal(), |name| std::env::var_os(name))
}

/// For what is written to standard error.
pub(crate) fn on_stderr() -> bool {
    wanted(stderr().is_terminal(), |name| std::env::var_os(name))
}

/// Pure. `NO_COLOR` is the strongest word, then `CLICOLOR_FORCE`; a terminal that can do nothing gets nothing.
fn wanted(is_terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let is = |name: &str, text: &str| variable(name).is_some_and(|value| value == text);
    if is_set("NO_COLOR") {
        return false;
    }
    if is_set("CLICOLOR_FORCE") && !is("CLICOLOR_FORCE", "0") {
        return true;
    }
    is_terminal && !is("TERM", "dumb") && !is("CLICOLOR", "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        let wanted = |is_terminal, variables: &[(&str, &str)]| {
            let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
            wanted(is_terminal, |name| find(name).map(|(_, value)| OsString::from(value)))
        };
        for (is_terminal, variables, expected) in [
            (true, &[][..], true),
            (false, &[], false),
            (true, &[("NO_COLOR", "1")], false),
            (true, &[("NO_COLOR", "")], true),
            (true, &[("TERM", "dumb")], false),
            (true, &[("CLICOLOR", "0")], false),
            (false, &[("CLICOLOR_FORCE", "1")], true),
            (false, &[("CLICOLOR_FORCE", "0")], false),
            (false, &[("CLICOLOR_FORCE", "1"), ("TERM", "dumb")], true),
            (false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        ] {
            assert_eq!(wanted(is_terminal, variables), expected, "{is_terminal} {variables:?}");
        }
    }
}
