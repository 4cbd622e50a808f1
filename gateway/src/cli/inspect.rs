//! `par inspect`: what PAR understands of a package. It is fetched, verified and unpacked into a directory of its own
//! that goes again; nothing of it is executed.

use std::{collections::BTreeMap, fs, io::Write, path::Path};

use par_pool::package::{
    Entry, Handler, Loaders, Package, PackageSettings, PullError, Runtime, Source, Step, Street, Unpacked,
};
use serde_json::{Value, json};

use super::{Exit, Failure, check, signature::Signed, table};
use crate::config::{self, Config, Environment, Flags};

/// Files that say what a package needs.
const REQUIREMENT_FILES: &[&str] = &["requirements.txt", "pyproject.toml", "setup.py", "setup.cfg"];

/// Longest requirements file that is shown.
const LONGEST: u64 = 1 << 20;

/// Writes what a package is, for people or as JSON. Exit 65 if it would be refused, 69 if it cannot be had.
pub(super) async fn inspect(
    package: &str,
    json: bool,
    environment: &Environment,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let source =
        Source::parse(package).map_err(|error| Failure::new(Exit::Configuration, error.to_string()))?;
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Failed, format!("no temporary directory: {error}"))
    };
    let temporary = Temporary(tempfile::tempdir().map_err(|error| failed(&error))?);
    // Whoever installs first wins; the street needs any.
    drop(rustls::crypto::ring::default_provider().install_default());
    let settings = settings(temporary.0.path(), environment)?;
    let loaders = settings.loaders.clone();
    let street = Street::new(settings, None).map_err(|error| refused(&error))?;
    let unpacked = street.fetch(&source).await.map_err(|error| refused(&error))?;
    let signed = Signed::of(&source, &unpacked);
    let found = describe(&unpacked, &signed, &loaders);
    if json {
        let text = serde_json::to_string_pretty(&found).map_err(|error| failed(&error))?;
        return Ok(writeln!(out, "{text}")?);
    }
    show(&found, &signed, out)
}

/// The rules of this environment, so that what would be refused here is. A configuration that is faulty counts as
/// none, except for what it says about signatures: whom to trust is not guessed.
fn settings(directory: &Path, environment: &Environment) -> Result<PackageSettings, Failure> {
    let signatures = config::signatures(&Flags::default(), environment);
    let signatures = signatures.map_err(|faults| check::failure(&faults))?;
    let config = Config::load(&Flags::default(), environment)
        .or_else(|_| Config::load(&Flags::default(), &Environment::default()))
        .map_err(|faults| check::failure(&faults))?;
    Ok(PackageSettings {
        data_dir: directory.to_owned(),
        cache_dir: directory.join("packages"),
        signatures,
        wheelhouse: None,
        uv: None,
        pythons: Vec::new(),
        pass_env: BTreeMap::new(),
        ..(&config).into()
    })
}

fn refused(error: &PullError) -> Failure {
    let exit = match error.step {
        Step::Fetch => Exit::Unreachable,
        Step::Environment if error.transient => Exit::Unreachable,
        Step::Verify
        | Step::Unpack
        | Step::Manifest
        | Step::Environment
        | Step::Template
        | Step::Probe
        | Step::Serve
        | Step::Mount => Exit::Package,
    };
    let mut text = error.to_string();
    for more in [error.hint.as_deref(), Some(error.log.as_str())].into_iter().flatten() {
        if !more.is_empty() {
            text.push_str("\n  ");
            text.push_str(&more.trim().replace('\n', "\n  "));
        }
    }
    Failure::new(exit, text)
}

/// A temporary directory whose content may be read-only, as unpacked packages are.
struct Temporary(tempfile::TempDir);

impl Drop for Temporary {
    fn drop(&mut self) {
        make_writable(self.0.path());
    }
}

/// Directories only: a file can be removed from a directory that can be written. What fails here stays behind.
fn make_writable(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).ok();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

fn describe(unpacked: &Unpacked, signed: &Signed, loaders: &Loaders) -> Value {
    let package = &unpacked.package;
    let handler = |handler: &Handler| format!("{}:{}", handler.module, handler.attribute);
    let agents: Vec<_> = package
        .exports
        .iter()
        .map(|export| {
            json!({
                "id": format!("{}/{}", package.id, export.id),
                "name": export.name,
                "description": export.description,
                "handler": handler(&export.handler),
                "private": export.private,
                "role_required": export.role_required,
                "timeout_seconds": export.timeout.map(|timeout| timeout.as_secs_f64()),
                "concurrency": export.concurrency,
                "threads": export.threads,
                "input_schema": export.input_schema,
                "output_schema": export.output_schema,
            })
        })
        .collect();
    let entry = |entry: &Entry| match entry {
        Entry::Function(of) | Entry::Application(of) => handler(of),
    };
    let surfaces = json!({
        "rest": package.surfaces.rest.as_ref().map(entry),
        "a2a": package.surfaces.a2a.as_ref().map(entry),
        "ui": package.surfaces.ui.as_ref().map(|ui| json!({"path": ui.path, "base_path": ui.base_path, "public": ui.public})),
    });
    let files: Vec<_> =
        REQUIREMENT_FILES.iter().filter(|name| unpacked.root.join(name).is_file()).copied().collect();
    json!({
        "id": package.id,
        "description": package.description,
        "digest": unpacked.digest,
        "signature": signed.json(),
        "runtime": package.runtime.to_string(),
        "loader": loader(package, loaders),
        "agents": agents,
        "surfaces": surfaces,
        "environment": {"files": files, "requirements": requirements(unpacked), "variables": package.environment.keys().collect::<Vec<_>>()},
        "warnings": unpacked.warnings,
    })
}

/// The command line of what would run it; `None`: Python does.
fn loader(package: &Package, loaders: &Loaders) -> Option<String> {
    match &package.runtime {
        Runtime::Python(_) => None,
        Runtime::Loader(name) => loaders.get(name).map(ToString::to_string),
    }
}

/// Lines of `requirements.txt`, else the manifest's dependencies.
fn requirements(unpacked: &Unpacked) -> Vec<String> {
    let file = unpacked.root.join("requirements.txt");
    let short = fs::metadata(&file).is_ok_and(|meta| meta.is_file() && meta.len() <= LONGEST);
    let Some(text) = short.then(|| fs::read_to_string(&file).ok()).flatten() else {
        return unpacked.package.dependencies.clone();
    };
    let lines = text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

fn show(found: &Value, signed: &Signed, out: &mut dyn Write) -> Result<(), Failure> {
    let text = |value: Option<&Value>| match value {
        Some(Value::String(text)) => table::plain(text),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    let names = |value: Option<&Value>| {
        let items = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let items: Vec<_> = items.iter().filter_map(Value::as_str).map(table::plain).collect();
        if items.is_empty() { "-".to_owned() } else { items.join(", ") }
    };
    let environment = found.get("environment");
    let surfaces: Vec<_> = found
        .get("surfaces")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| format!("{name} ({})", text(value.get("path").or(Some(value)))))
        .collect();
    for (name, value) in [
        ("package", text(found.get("id"))),
        ("description", text(found.get("description"))),
        ("digest", text(found.get("digest"))),
        ("signature", signed.text()),
        ("runtime", text(found.get("runtime"))),
        ("loader", text(found.get("loader"))),
        ("surfaces", if surfaces.is_empty() { "-".to_owned() } else { surfaces.join(", ") }),
        ("environment", names(environment.and_then(|environment| environment.get("files")))),
        ("requirements", names(environment.and_then(|environment| environment.get("requirements")))),
    ] {
        writeln!(out, "{name:<13} {value}")?;
    }
    let list = |name: &str| found.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let rows: Vec<_> = list("agents")
        .iter()
        .map(|agent| {
            let private = if agent.get("private") == Some(&Value::Bool(true)) { "private" } else { "" };
            vec![
                text(agent.get("id")),
                text(agent.get("handler")),
                text(agent.get("role_required")),
                private.to_owned(),
                text(agent.get("description")),
            ]
        })
        .collect();
    if !rows.is_empty() {
        writeln!(out)?;
        table::write(out, &["AGENT", "HANDLER", "ROLE", "PRIVATE", "DESCRIPTION"], &rows)?;
    }
    for warning in list("warnings") {
        writeln!(out, "warning: {}", text(Some(warning)))?;
    }
    Ok(())
}
