//! The reference of all settings, made of what decides them: names of [`raw::ALL`], purposes and defaults of
//! `conf/par.yaml` (which a test holds against the code), and values as the checks themselves refuse what is none.

use std::fmt::Write as _;

use super::{
    Environment, Flags, check,
    raw::{self, Setting},
};

/// Every key with its default and what it is for.
const FILE: &str = include_str!("../../../conf/par.yaml");

/// What stands before the keys.
const HEAD: &str = "\
# Configuration

Made of the code by `make docs`; a test fails when it is stale. [`conf/par.yaml`](../conf/par.yaml) is the same as a file to begin with.

A flag is stronger than a variable, a variable stronger than the file of `-c` (`PAR_CONFIG`), the file stronger than the default. An empty
value means \"not given\"; `env:NAME` in the place of a value is the value of that variable, `file:PATH` the content of that file. Unknown
keys are errors. `par check` tells every fault at once, `par doctor` whether the host can do what is asked. What changes at SIGHUP is read
again then, all of it or nothing; files of certificates and keys are followed by themselves.
";

/// Values that are wrong for somebody. What the checks say about them is what they take instead.
const WRONG: [&str; 4] = ["?", "0", "1ms", "1h"];

/// What other settings have to say for one to be looked at: each of these at a time.
const AROUND: [&[(&Setting, &str)]; 2] = [
    &[
        (&raw::STRIPE_KEY, "sk"),
        (&raw::OIDC_ISSUER, "https://id.example"),
        (&raw::OIDC_AUDIENCE, "par"),
        (&raw::WEBHOOK_URL, "https://hook.example"),
        (&raw::WEBHOOK_SECRET, "a secret"),
        (&raw::CORS_ORIGINS, "https://app.example"),
        (&raw::OTLP_ENDPOINT, "http://127.0.0.1:4318"),
        (&raw::LOG_SAMPLE_AFTER, "1"),
        (&raw::TLS_MODE, "self-signed"),
    ],
    &[(&raw::AGENT_APP_ID, "agent"), (&raw::PACKAGE_URL, "https://example.org/a.apkg")],
];

/// Keys below one comment.
#[derive(Debug, Default, PartialEq, Eq)]
struct Group<'a> {
    /// The comment, line by line.
    comment: Vec<&'a str>,
    /// Keys with their defaults as written.
    keys: Vec<(String, &'a str)>,
}

/// One section of the file, or all keys that are in none.
#[derive(Debug, Default, PartialEq, Eq)]
struct Section<'a> {
    name: &'a str,
    comment: Vec<&'a str>,
    groups: Vec<Group<'a>>,
}

/// The whole reference as Markdown. `is_live`: whether a setting takes effect without a restart.
pub(crate) fn reference(is_live: impl Fn(&Setting) -> bool) -> String {
    let mut text = String::from(HEAD);
    for section in sections(FILE) {
        // Writing to a text cannot fail.
        write(&section, &is_live, &mut text).ok();
    }
    text
}

fn write(section: &Section<'_>, is_live: &impl Fn(&Setting) -> bool, text: &mut String) -> std::fmt::Result {
    writeln!(text, "\n## {}", if section.name.is_empty() { "Keys without a section" } else { section.name })?;
    explain(&section.comment, "", text)?;
    writeln!(text, "\n| key | variable, flag | value | default | changes |\n|---|---|---|---|---|")?;
    for (key, written) in section.groups.iter().flat_map(|group| &group.keys) {
        let Some(setting) = raw::ALL.iter().find(|setting| setting.key == key) else { continue };
        let names: Vec<_> =
            setting.variable.iter().chain(&setting.flag).map(|name| format!("`{name}`")).collect();
        let default = if written.is_empty() { "–".to_owned() } else { format!("`{written}`") };
        let changes = if is_live(setting) { "at SIGHUP" } else { "at a restart" };
        let (names, values) = (names.join(", "), values(setting, written));
        writeln!(text, "| `{key}` | {names} | {values} | {default} | {changes} |")?;
    }
    for group in &section.groups {
        let keys: Vec<_> = group.keys.iter().map(|(key, _)| format!("`{key}`")).collect();
        explain(&group.comment, &format!("**{}**: ", keys.join(", ")), text)?;
    }
    Ok(())
}

/// A comment as paragraphs, each within a line, and examples as they are. Nothing for no comment.
fn explain(comment: &[&str], before: &str, text: &mut String) -> std::fmt::Result {
    let (mut before, mut lines) = (before, comment.iter().peekable());
    while let Some(line) = lines.peek() {
        if line.starts_with("  ") {
            writeln!(text, "\n```yaml")?;
            while let Some(line) = lines.next_if(|line| line.starts_with("  ")) {
                writeln!(text, "{}", line.strip_prefix("  ").unwrap_or(line))?;
            }
            writeln!(text, "```")?;
            continue;
        }
        let mut words = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("  ")) {
            words.push(line.trim());
        }
        let paragraph = escaped(&without_names(&words.join(" ")));
        writeln!(text, "\n{before}{}", paragraph.trim())?;
        before = "";
    }
    Ok(())
}

/// Stars are stars; between backticks they are already.
fn escaped(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts =
        parts.map(|(index, part)| if index % 2 == 0 { part.replace('*', "\\*") } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("`")
}

/// Names in brackets are in the table.
fn without_names(text: &str) -> String {
    let (mut told, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('[') {
        told.push_str(before);
        let names = after.split_once(']').filter(|(inner, _)| {
            let first = inner.split([',', ' ']).next().unwrap_or_default();
            raw::ALL.iter().any(|setting| setting.variable == Some(first) || setting.flag == Some(first))
        });
        rest = match names {
            Some((_, after)) => after,
            None => {
                told.push('[');
                after
            }
        };
    }
    told.push_str(rest);
    told
}

/// The file taken apart; keys without a section come last.
fn sections(file: &str) -> Vec<Section<'_>> {
    let (mut sections, mut others) = (Vec::<Section<'_>>::new(), Section::default());
    // What stands at the top is about the file.
    let lines = file.lines().skip_while(|line| line.starts_with('#'));
    let mut comment = Vec::new();
    for line in lines {
        if let Some(said) = line.trim_start().strip_prefix('#') {
            comment.push(said.strip_prefix(' ').unwrap_or(said));
            continue;
        }
        let Some((name, default)) = line.split_once(':') else {
            comment.clear();
            continue;
        };
        let (key, default) = (name.trim_start(), default.trim());
        let about = std::mem::take(&mut comment);
        let is_top = key.len() == name.len();
        if is_top
            && raw::ALL.iter().any(|setting| setting.key.split_once('.').is_some_and(|(top, _)| top == key))
        {
            sections.push(Section { name: key, comment: about, groups: Vec::new() });
            continue;
        }
        let section = if is_top { &mut others } else { sections.last_mut().unwrap_or(&mut others) };
        let full = if is_top { key.to_owned() } else { format!("{}.{key}", section.name) };
        match section.groups.last_mut().filter(|_| about.is_empty()) {
            Some(group) => group.keys.push((full, default)),
            None => section.groups.push(Group { comment: about, keys: vec![(full, default)] }),
        }
    }
    sections.push(others);
    sections
}

/// What a key takes, by what the checks say about values that are wrong. `default` as written in the file.
fn values(setting: &'static Setting, default: &str) -> String {
    let mut told: Vec<String> = Vec::new();
    for wrong in WRONG {
        for around in AROUND {
            let others = around.iter().map(|(other, value)| (*other, (*value).to_owned()));
            let settings = others.chain([(setting, wrong.to_owned())]).collect();
            let flags = Flags { settings, ..Flags::default() };
            let Err(faults) = check::check(&flags, &Environment::default()) else { continue };
            let name = setting.flag.unwrap_or(setting.key);
            let ours = faults.0.iter().filter(|fault| fault.name == name);
            for taken in ours.filter_map(|fault| taken(wrong, &fault.problem)) {
                if !told.contains(&taken) {
                    told.push(taken);
                }
            }
        }
    }
    let one = match (told.is_empty(), default.starts_with('{')) {
        (true, true) => "a mapping, in the file alone".to_owned(),
        (true, false) => "text".to_owned(),
        (false, _) => told.join("; "),
    };
    if default.starts_with('[') && !one.starts_with("a list") { format!("a list, each: {one}") } else { one }
}

/// What is taken, out of what was said about a value that is not. None: that was about something else.
fn taken(wrong: &str, problem: &str) -> Option<String> {
    let said = problem.strip_prefix(&format!("{wrong:?}")).unwrap_or(problem).trim_start();
    if said == "must be written in the file" {
        return Some("in the file alone, as below".to_owned());
    }
    if let Some(most) = said.strip_prefix("is more than ") {
        return Some(format!("at most {most}"));
    }
    // A path was made absolute before it was looked at.
    for (end, kind) in [("is not a directory", "a directory"), ("is not a program", "a program")] {
        if said.ends_with(end) {
            return Some(kind.to_owned());
        }
    }
    if said.contains("cannot be read") || said.contains("No such file") {
        return Some("a file".to_owned());
    }
    let right = said.strip_prefix("is not ").or_else(|| said.strip_prefix("must be "));
    right.map(str::to_owned).or_else(|| said.starts_with("must begin").then(|| said.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_belong_to_the_keys_below_them() {
        let file = "# About the file.\n\n# All of it.\nserver:\n  # Where. [HOST, --host]\n  host: 0.0.0.0\n  # Both.\n  \
                    #   a: 1\n  port: 8000\n  threads:\n\n# State.\ndata_dir:\n";
        let sections = sections(file);
        let [server, others] = sections.as_slice() else { panic!("{sections:?}") };
        assert_eq!((server.name, server.comment.as_slice()), ("server", &["All of it."][..]));
        let keys = |group: &Group<'_>| group.keys.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
        assert_eq!(
            server.groups.iter().map(keys).collect::<Vec<_>>(),
            [vec!["server.host"], vec!["server.port", "server.threads"]]
        );
        assert_eq!(server.groups[1].comment, ["Both.", "  a: 1"]);
        assert_eq!(others.groups.iter().map(keys).collect::<Vec<_>>(), [vec!["data_dir"]]);
        let mut text = String::new();
        write(server, &|setting| setting.key == "server.port", &mut text).unwrap();
        assert!(
            text.contains(
                "| `server.host` | `HOST`, `--host` | an IP address or localhost | `0.0.0.0` | at a restart |"
            ),
            "{text}"
        );
        assert!(text.contains("| `8000` | at SIGHUP |"), "{text}");
        assert!(text.contains("**`server.host`**: Where.\n"), "{text}");
        assert!(
            text.contains("**`server.port`, `server.threads`**: Both.\n\n```yaml\na: 1\n```\n"),
            "{text}"
        );
    }

    #[test]
    fn every_key_is_in_the_reference_once_with_what_it_takes() {
        let text = reference(|_| false);
        for setting in raw::ALL {
            let row = format!("\n| `{}` |", setting.key);
            assert_eq!(text.matches(&row).count(), 1, "{}", setting.key);
        }
        for row in [
            "| `server.port` | `PORT`, `--port` | a port between 1 and 65535 | `8000` |",
            "| `limits.request_timeout` | `REQUEST_TIMEOUT_SECONDS` | a time like 30, 1.5s, 500ms, 2m or 1h; more than 0 | `30s` |",
            "| `rollout.parked` |  | a number from 0 to 16 | `2` |",
            "| `log.format` | `LOG_FORMAT` | json or text | `json` |",
            "| `registry.poll_interval` | `REGISTRY_POLL_INTERVAL` | a time like 30, 1.5s, 500ms, 2m or 1h; at least 1s | `30s` |",
        ] {
            assert!(text.contains(row), "{row} in {text}");
        }
    }

    #[test]
    fn what_is_taken_is_read_off_a_refusal() {
        for (problem, wanted) in [
            ("\"?\" is not true or false", Some("true or false")),
            ("\"?\" must be more than 0", Some("more than 0")),
            ("\"?\" is more than 5m", Some("at most 5m")),
            ("must be an https:// address", Some("an https:// address")),
            ("must be written in the file", Some("in the file alone, as below")),
            ("/here/? is not a directory", Some("a directory")),
            ("needs TLS", None),
        ] {
            assert_eq!(taken("?", problem).as_deref(), wanted, "{problem}");
        }
    }
}
