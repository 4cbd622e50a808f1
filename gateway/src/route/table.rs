//! Which part of the runtime a path belongs to.
//!
//! Of a path below `/agents/` the longest known id counts that is followed by `invoke`, `health`, `ui`, `a2a` or the
//! end; else the first segment. Slashes and `@` of an id may be percent-encoded.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// What answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// `POST /agents/{id}/invoke`: body in, result out.
    Invoke(Cow<'a, str>),
    /// `POST /runtime/agents/{id}/invoke`: envelope in, envelope out.
    Envelope(Cow<'a, str>),
    /// The management side.
    Control,
    /// A path below an agent that nothing answers: the agent's id and whether it exists.
    Below(Cow<'a, str>),
    /// Nothing.
    Nothing,
}

/// Ends of ids in `/agents/{id}/…`.
const MARKS: [&str; 4] = ["invoke", "health", "ui", "a2a"];

/// Segments of the longest id, `package@version/export`. Without a bound, a path of slashes would cost a look-up for each
/// of them.
const LONGEST_ID: usize = 2;

/// Decides what answers `path` (without query); `known` tells whether a text is an id of an agent.
pub(crate) fn route(path: &str, known: impl Fn(&str) -> bool) -> Target<'_> {
    if let Some(rest) = path.strip_prefix("/agents/") {
        return below_agents(rest, known);
    }
    if let Some(rest) = path.strip_prefix("/runtime/agents/") {
        return match rest.strip_suffix("/invoke") {
            Some(id) if !id.is_empty() => decode(id).map_or(Target::Nothing, Target::Envelope),
            Some(_) | None => Target::Control,
        };
    }
    let control = path == "/agents"
        || path == "/health"
        || path == "/metrics"
        || path == "/runtime"
        || path.starts_with("/runtime/");
    if control { Target::Control } else { Target::Nothing }
}

fn below_agents(rest: &str, known: impl Fn(&str) -> bool) -> Target<'_> {
    // The common case: one segment, nothing encoded, `invoke` at the end.
    if let Some(id) = rest.strip_suffix("/invoke")
        && !id.contains(['%', '/'])
        && !id.is_empty()
    {
        return Target::Invoke(Cow::Borrowed(id));
    }
    let ends = rest.match_indices('/').map(|(at, _)| at).chain(std::iter::once(rest.len())).take(LONGEST_ID);
    let mut longest = None;
    for end in ends {
        let (id, tail) = rest.split_at(end);
        let tail = tail.strip_prefix('/').unwrap_or(tail);
        let mark = tail.split('/').next().unwrap_or_default();
        let Some(id) = decode(id) else { return Target::Nothing };
        let bounded = tail.is_empty() || MARKS.contains(&mark);
        if bounded && known(&id) {
            longest = Some((id, tail));
        }
    }
    let (id, tail) = match longest {
        Some(found) => found,
        None => {
            let (first, tail) = rest.split_once('/').unwrap_or((rest, ""));
            // An id with slashes that nobody knows is still an id if it is followed by `invoke`.
            let (id, tail) = match rest.strip_suffix("/invoke") {
                Some(id) if !id.is_empty() => (id, "invoke"),
                Some(_) | None => (first, tail),
            };
            match decode(id) {
                Some(id) if !id.is_empty() => (id, tail),
                Some(_) | None => return Target::Nothing,
            }
        }
    };
    match tail {
        "invoke" => Target::Invoke(id),
        "" | "health" => Target::Control,
        _ => Target::Below(id),
    }
}

fn decode(id: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(id).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Target<'_> {
        let known = ["echo", "tools/echo", "tools@1.0/echo", "tools", "tools@1.0", "a/invoke"];
        route(path, |id| known.contains(&id))
    }

    fn invoke(id: &str) -> Target<'static> {
        Target::Invoke(Cow::Owned(id.to_owned()))
    }

    #[test]
    fn ids_are_found_raw_and_encoded() {
        for path in [
            "/agents/tools@1.0/echo/invoke",
            "/agents/tools%401.0/echo/invoke",
            "/agents/tools@1.0%2Fecho/invoke",
            "/agents/tools%401.0%2fecho/invoke",
        ] {
            assert_eq!(target(path), invoke("tools@1.0/echo"), "{path}");
        }
        assert_eq!(target("/agents/echo/invoke"), invoke("echo"));
        assert_eq!(target("/agents/nobody/invoke"), invoke("nobody"));
        assert_eq!(target("/agents/no/body/invoke"), invoke("no/body"));
    }

    #[test]
    fn the_longest_known_id_counts() {
        assert_eq!(target("/agents/tools/echo/invoke"), invoke("tools/echo"));
        assert_eq!(target("/agents/tools/invoke"), invoke("tools"));
        assert_eq!(target("/agents/a/invoke/invoke"), invoke("a/invoke"));
        assert_eq!(target("/agents/tools/api/x"), Target::Below(Cow::Borrowed("tools")));
    }

    #[test]
    fn a_path_of_slashes_costs_no_more_look_ups_than_an_id_has_segments() {
        let asked = std::cell::Cell::new(0);
        let path = format!("/agents/{}invoke", "a/".repeat(8_000));
        let target = route(&path, |_| {
            asked.set(asked.get() + 1);
            false
        });
        assert!(matches!(target, Target::Invoke(_)), "{target:?}");
        assert!(asked.get() <= LONGEST_ID, "{} look-ups", asked.get());
    }

    #[test]
    fn management_and_nothing_are_told_apart() {
        for path in ["/health", "/runtime/info", "/agents", "/agents/echo", "/agents/echo/health", "/metrics"]
        {
            assert_eq!(target(path), Target::Control, "{path}");
        }
        for path in ["/", "/healthz", "/agents/", "/agents//invoke", "/agents/%ff/invoke", "/runtimes"] {
            assert_eq!(target(path), Target::Nothing, "{path}");
        }
        let envelope = Target::Envelope(Cow::Borrowed("tools@1.0/echo"));
        assert_eq!(target("/runtime/agents/tools@1.0%2Fecho/invoke"), envelope);
        assert_eq!(target("/runtime/agents/echo/enable"), Target::Control);
    }
}
