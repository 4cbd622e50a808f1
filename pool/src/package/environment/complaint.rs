//! What an installer wrote before it gave up enters, one line that says why leaves.

use std::path::Path;

/// What uv and pip write when the network is at fault.
const NETWORK: [&str; 9] = [
    "error sending request",
    "onnection refused",
    "onnection reset",
    "timed out",
    "dns error",
    "Temporary failure in name resolution",
    "NewConnectionError",
    "Could not connect",
    "503 Service Unavailable",
];

/// Whether the network is at fault, and another try may succeed.
pub(super) fn is_of_network(output: &str) -> bool {
    NETWORK.iter().any(|sign| output.contains(sign))
}

/// The lines of a tool's output that say why, in one line, without our paths and without credentials.
pub(super) fn summary(output: &str, data_dir: &Path) -> Option<String> {
    let starts = ["error:", "ERROR:", "×", "╰─▶", "├─▶", "hint:", "Caused by:"];
    let mut said = false;
    let mut lines: Vec<&str> = Vec::new();
    for line in output.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let start = starts.iter().any(|start| line.starts_with(start));
        // What is wrapped belongs to the line before.
        if start || (said && line.starts_with(|c: char| c.is_lowercase())) {
            lines.push(line.trim_start_matches(['×', '╰', '─', '▶', '├', ' ']));
        }
        said = start || (said && lines.last().is_some_and(|last| line.ends_with(last)));
    }
    let text = lines.join(" ").replace(&*data_dir.to_string_lossy(), "…");
    let words: Vec<String> = text.split_whitespace().map(without_credentials).collect();
    let text: String = words.join(" ").chars().take(600).collect();
    (!text.is_empty()).then_some(text)
}

/// A word in which `scheme://user:password@host` has lost the middle.
fn without_credentials(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_found_in_what_installers_write() {
        let uv = "  × No solution found when resolving dependencies:\n  ╰─▶ Because nope was not found in the\n      package registry and you require nope,\n      we can conclude.\n";
        let text = summary(uv, Path::new("/data")).unwrap();
        assert!(text.starts_with("No solution found") && text.ends_with("we can conclude."), "{text}");
        let pip =
            "Looking\nERROR: No matching distribution found for nope at https://u:secret@h/simple /data/x\n";
        let text = summary(pip, Path::new("/data")).unwrap();
        assert_eq!(text, "ERROR: No matching distribution found for nope at https://h/simple …/x");
        assert_eq!(summary("fine", Path::new("/data")), None);
    }
}
