//! `PAR_PASS_ENV`: which of our own variables agents may see. PAR's secrets are never among them.

use std::collections::BTreeMap;

use super::raw::Environment;

/// Never passed on, whatever a glob says: who holds one of these can act as PAR, with its rights at AWS or as its
/// operator.
const SECRETS: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "PAR_OPERATOR_TOKEN",
    "PAR_RUNTIME_SECRET",
    "REGISTRY_WEBHOOK_SECRET",
    "STRIPE_API_KEY",
    "STRIPE_KEY",
    "TLS_KEY",
    "WEBHOOK_SECRET",
];

/// The variables whose name one of the globs matches (`*`: any run of characters, `?`: one), secrets excepted.
pub(super) fn select(globs: &[String], environment: &Environment) -> BTreeMap<String, String> {
    environment
        .iter()
        .filter(|(name, _)| !SECRETS.contains(name) && globs.iter().any(|glob| matches(glob, name)))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// What an interpreter or a shell would take for its own: with these of ours, an agent would not run in its
/// environment. Addresses may contain tokens.
const SURROUNDINGS: &[&str] = &[
    "HOME",
    "OLDPWD",
    "PACKAGES_URLS",
    "PACKAGE_URL",
    "PATH",
    "PWD",
    "REGISTRY_URL",
    "SHLVL",
    "VIRTUAL_ENV",
    "WEBHOOK_URL",
    "_",
];
const SURROUNDING_PREFIXES: &[&str] = &["LD_", "PAR_", "PYTHON", "UV_"];

/// What agents of single mode get unless somebody says otherwise: the container is theirs, so is its environment, but
/// for what is ours.
pub(super) fn everything(environment: &Environment) -> BTreeMap<String, String> {
    let ours = |name: &str| {
        SURROUNDINGS.contains(&name) || SURROUNDING_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    let mut passed = select(&["*".to_owned()], environment);
    passed.retain(|name, _| !ours(name));
    passed
}

/// A glob as it may be written: what can stand in a variable's name, `*` and `?`.
pub(super) fn glob(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '*' | '?' | '.' | '-');
    if text.is_empty() || !text.chars().all(fits) {
        return Err(format!("{text:?} is not a variable's name or a glob like OPENAI_*"));
    }
    Ok(text.to_owned())
}

/// Linear in time even for hostile globs: only the last `*` is ever tried again.
fn matches(glob: &str, name: &str) -> bool {
    let (glob, name) = (glob.as_bytes(), name.as_bytes());
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(read) {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(wanted) if wanted == byte || *wanted == b'?' => {
                at += 1;
                read += 1;
            }
            Some(_) | None => {
                let Some((behind, from)) = star else { return false };
                star = Some((behind, from + 1));
                at = behind + 1;
                read = from + 1;
            }
        }
    }
    glob.iter().skip(at).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names() {
        for (glob, name, wanted) in [
            ("A", "A", true),
            ("A", "AB", false),
            ("A*", "A", true),
            ("A*", "AB", true),
            ("*_KEY", "X_KEY", true),
            ("*_KEY", "X_KEYS", false),
            ("A?C", "ABC", true),
            ("A?C", "AC", false),
            ("*A*B*", "xAyBz", true),
            ("*A*B*", "xByAz", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(glob, name), wanted, "{glob} {name}");
        }
    }

    #[test]
    fn secrets_are_never_passed_on() {
        let open = [("AWS_REGION", "r"), ("OPENAI_API_KEY", "o")];
        let environment = SECRETS.iter().map(|name| (*name, "s")).chain(open).collect();
        let named = SECRETS.iter().map(|name| (*name).to_owned());
        let passed = select(&named.chain(["*".to_owned()]).collect::<Vec<_>>(), &environment);
        assert_eq!(passed.keys().collect::<Vec<_>>(), ["AWS_REGION", "OPENAI_API_KEY"]);
        for name in
            ["AWS_SECRET_ACCESS_KEY", "PAR_OPERATOR_TOKEN", "WEBHOOK_SECRET", "REGISTRY_WEBHOOK_SECRET"]
        {
            assert!(SECRETS.contains(&name), "{name}");
        }
    }
}
