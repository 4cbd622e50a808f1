//! Which part of the runtime a path belongs to.
//!
//! Of a path below `/agents/` the longest known id counts that is followed by `invoke`, `health`, `ui`, `a2a` or the
//! end; else the first segment. Slashes and `@` of an id may be percent-encoded. What the runtime answers itself wins
//! over the routes of packages.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use super::layout::{DESCRIPTIONS, Layout, Single, below};

/// What answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// `POST /agents/{id}/invoke`: body in, result out.
    Invoke(Cow<'a, str>),
    /// `POST /runtime/agents/{id}/invoke`: envelope in, envelope out.
    Envelope(Cow<'a, str>),
    /// The management side; so many bytes at the path's begin are not for it.
    Control {
        /// Length of a base path.
        strip: usize,
    },
    /// The REST surface of a package.
    Rest(Place<'a>),
    /// The UI of a package; the rest is what follows `/ui`.
    Ui(Place<'a>),
    /// The gRPC surface of a package; the rest is what follows `/a2a`.
    A2a(Place<'a>),
    /// Nothing.
    Nothing,
}

/// A path in a surface of a package, as the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    /// Any id of the package.
    pub(crate) id: Cow<'a, str>,
    /// Where the routes of the package are: no slash at its end.
    pub(crate) prefix: &'a str,
    /// The path in the surface: empty, or with a leading slash.
    pub(crate) rest: &'a str,
}

/// Ends of ids in `/agents/{id}/…`.
const MARKS: [&str; 4] = ["invoke", "health", "ui", "a2a"];

/// Segments of the longest id, `package@version/export`. Without a bound, a path of slashes would cost a look-up for each
/// of them.
const LONGEST_ID: usize = 2;

/// Decides what answers `path` (without query); `known` tells whether a text is an id of an agent or a package.
pub(crate) fn route<'a>(
    layout: &Layout,
    method: &Method,
    path: &'a str,
    known: impl Fn(&str) -> bool,
) -> Target<'a> {
    let single = match layout {
        Layout::Host => None,
        Layout::Single(single) => Some(single),
    };
    if let Some(single) = single
        && !single.is_usual()
        && !single.base.is_empty()
        && let Some(rest) = below(path, &single.base)
    {
        return based(single, path, rest);
    }
    if let Some(rest) = path.strip_prefix("/agents/") {
        if let Some(single) = single
            && let Some(rest) = below(path, &single.base).filter(|_| !single.base.is_empty())
            && (DESCRIPTIONS.contains(&rest) || below(rest, "/runtime").is_some())
        {
            return based(single, path, rest);
        }
        return below_agents(path, rest, method, single.is_none_or(|single| single.multiplexed), known);
    }
    if let Some(target) = runtime(path, 0) {
        return target;
    }
    if matches!(path, "/agents" | "/health" | "/metrics") {
        return Target::Control { strip: 0 };
    }
    let Some(single) = single else { return Target::Nothing };
    if DESCRIPTIONS.contains(&path) {
        Target::Control { strip: 0 }
    } else if single.root || single.base.is_empty() {
        surface(single, path, 0)
    } else if path == "/" {
        Target::Control { strip: 0 }
    } else {
        Target::Nothing
    }
}

/// What is below the base path of the one package.
fn based<'a>(single: &Single, path: &'a str, rest: &'a str) -> Target<'a> {
    let strip = path.len() - rest.len();
    if let Some(target) = runtime(rest, strip) {
        return target;
    }
    if rest == "/health" || DESCRIPTIONS.contains(&rest) {
        return Target::Control { strip };
    }
    surface(single, path, strip)
}

/// What is below `/runtime`; `strip` is the length of what stands before it.
fn runtime(path: &str, strip: usize) -> Option<Target<'_>> {
    let rest = below(path, "/runtime")?;
    if let Some(id) = rest.strip_prefix("/agents/").and_then(|rest| rest.strip_suffix("/invoke"))
        && !id.is_empty()
    {
        return Some(decode(id).map_or(Target::Nothing, Target::Envelope));
    }
    Some(Target::Control { strip })
}

/// What is below the routes of the one package, which begin after so many bytes.
fn surface<'a>(single: &Single, path: &'a str, at: usize) -> Target<'a> {
    let (prefix, rest) = path.split_at_checked(at).unwrap_or((path, ""));
    let place = |rest| Place { id: Cow::Owned(single.id.to_string()), prefix, rest };
    if rest == "/invoke" {
        return Target::Invoke(place("").id);
    }
    if single.multiplexed
        && let Some(rest) = below(rest, "/ui")
    {
        return Target::Ui(place(rest));
    }
    match below(rest, "/a2a") {
        Some(rest) => Target::A2a(place(rest)),
        None => Target::Rest(place(rest)),
    }
}

fn below_agents<'a>(
    path: &'a str,
    rest: &'a str,
    method: &Method,
    multiplexed: bool,
    known: impl Fn(&str) -> bool,
) -> Target<'a> {
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
        let mark = tail.strip_prefix('/').unwrap_or(tail).split('/').next().unwrap_or_default();
        let Some(id) = decode(id) else { return Target::Nothing };
        let bounded = matches!(tail, "" | "/") || MARKS.contains(&mark);
        if bounded && known(&id) {
            longest = Some((id, tail));
        }
    }
    let (id, tail) = match longest {
        Some(found) => found,
        None => {
            let (first, tail) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            // An id with slashes that nobody knows is still an id if it is followed by `invoke`.
            let (id, tail) = match rest.strip_suffix("/invoke") {
                Some(id) if !id.is_empty() && !decode(first).is_some_and(|first| known(&first)) => {
                    (id, "/invoke")
                }
                Some(_) | None => (first, tail),
            };
            match decode(id) {
                Some(id) if !id.is_empty() => (id, tail),
                Some(_) | None => return Target::Nothing,
            }
        }
    };
    let prefix = path.strip_suffix(tail).unwrap_or(path);
    let place = |id, rest| Place { id, prefix, rest };
    match tail {
        "/invoke" => Target::Invoke(id),
        "/health" => Target::Control { strip: 0 },
        "" if matches!(*method, Method::GET | Method::HEAD) => Target::Control { strip: 0 },
        _ => match (below(tail, "/ui"), below(tail, "/a2a")) {
            (Some(rest), _) if multiplexed => Target::Ui(place(id, rest)),
            (_, Some(rest)) => Target::A2a(place(id, rest)),
            (_, None) => Target::Rest(place(id, tail)),
        },
    }
}

fn decode(id: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(id).decode_utf8().ok()
}

#[cfg(test)]
mod tests;
