//! All forms of `agent.yaml` that exist to one: a raw mapping enters, a checked [`Package`] and warnings leave, or
//! all faults. Unknown keys are somebody else's business and ignored at any level.

use std::{collections::BTreeMap, time::Duration};

use par_proto::ids::{PackageId, PackageName, Version};

use super::{
    adapter::Adapter,
    agents,
    checked::{
        HealthCheck, Kit, Package, Permissions, Runtime, SessionMode, SessionPolicy, StartMode, WorkerPolicy,
    },
    compare::{Comparisons, numbers},
    raw::Node,
    runtime,
    section::{Notes, Section},
    surfaces,
};
use crate::package::Loaders;

/// Default of `session.idle_ttl`.
const IDLE_TTL: Duration = Duration::from_secs(15 * 60);
/// Kits by the names that manifests give them.
const KITS: [(&str, Kit); 3] = [("rest", Kit::Rest), ("a2a", Kit::A2a), ("data", Kit::Data)];
/// Default of `session.max_ttl`.
const MAX_TTL: Duration = Duration::from_secs(8 * 3600);
/// Default of `workers.memory_mb`.
const MEMORY_MB: u64 = 1024;

/// Checks a manifest, whose package gets this adapter unless it says otherwise. Warnings come with the package, faults
/// instead of it.
pub fn check(
    node: &Node,
    loaders: &Loaders,
    adapter: Option<Adapter>,
) -> Result<(Package, Vec<String>), Vec<String>> {
    let notes = Notes::default();
    let package = package(&Section::root(node, &notes), loaders, adapter);
    let (faults, warnings) = notes.into_parts();
    match package {
        Some(package) if faults.is_empty() => Ok((package, warnings)),
        _ if faults.is_empty() => Err(vec!["name or version is missing".to_owned()]),
        _ => Err(faults),
    }
}

fn package(root: &Section<'_>, loaders: &Loaders, adapter: Option<Adapter>) -> Option<Package> {
    let name = name(root);
    let version = version(root);
    check_runtime_version(root);
    let role_required = root.text("role_required").map(str::to_owned);
    let runtime = runtime::read(root, loaders);
    let agents = agents::read(root, role_required.as_deref(), &runtime, adapter);
    let surfaces = surfaces::read(root, agents.entrypoint.as_ref());
    if agents.exports.is_empty() && surfaces.rest.is_none() && surfaces.a2a.is_none() && surfaces.ui.is_none()
    {
        root.fault("agent.yaml", "it has no handler (exports or entrypoint) and no surface (rest, a2a, ui)");
    }
    runtime::check_surfaces(root, &runtime, &surfaces);
    let healthcheck = healthcheck(root, &agents);
    let session = match agents.adapters.first().filter(|_| root.get("session").is_none()) {
        Some(adapter) => session(&root.instead(adapter.manifest())),
        None => session(root),
    };
    let (kits, workers) = (kits(root, &runtime, &agents.adapters), workers(root));
    let (permissions, environment) = (permissions(root), environment(root));
    let forward_authorization = root.flag("forward_authorization").unwrap_or(false);
    let dependencies = root.texts("dependencies");
    Some(Package {
        id: PackageId { name: name?, version: version? },
        description: root.text("description").unwrap_or_default().to_owned(),
        author: root.text("author").map(str::to_owned),
        exports: agents.exports,
        main_export: agents.main,
        runtime,
        role_required,
        healthcheck,
        session,
        workers,
        surfaces,
        kits,
        permissions,
        forward_authorization,
        environment,
        dependencies,
    })
}

fn name(root: &Section<'_>) -> Option<PackageName> {
    let Some(text) = root.text("name") else {
        root.fault("name", "is missing");
        return None;
    };
    text.parse().map_err(|error: par_proto::ids::IdError| root.fault("name", &error.to_string())).ok()
}

/// The top-level version, or that of `metadata` where the builder left the first one null.
fn version(root: &Section<'_>) -> Option<Version> {
    let Some(text) = root.text("version").or_else(|| root.section("metadata").text("version")) else {
        root.fault("version", "is missing");
        return None;
    };
    text.parse().map_err(|error: par_proto::ids::IdError| root.fault("version", &error.to_string())).ok()
}

fn check_runtime_version(root: &Section<'_>) {
    const OURS: &str = env!("CARGO_PKG_VERSION");
    let Some(wanted) = root.text("runtime_version") else { return };
    let Some(comparisons) = Comparisons::parse(wanted) else {
        root.fault("runtime_version", &format!("{wanted:?} is no version and no list of comparisons"));
        return;
    };
    if !comparisons.accept(&numbers(OURS).unwrap_or_default()) {
        root.fault("runtime_version", &format!("the package needs PAR {wanted}, this is PAR {OURS}"));
    }
}

fn healthcheck(root: &Section<'_>, agents: &agents::Agents) -> Option<HealthCheck> {
    root.get("healthcheck")?;
    let section = root.section("healthcheck");
    let export = match section.text("export") {
        Some(wanted) => agents.exports.iter().find(|export| export.id.as_str() == wanted),
        None => agents.exports.iter().find(|export| Some(&export.id) == agents.main.as_ref()),
    };
    if export.is_none() {
        section.fault("export", "names no agent of this package");
    }
    let export = export?;
    let input = section.get("input").map_or_else(|| serde_json::json!({}), Node::json);
    if let Some(Err(misfits)) = export.input_schema.as_ref().map(|schema| schema.check_value(&input)) {
        for misfit in misfits {
            section.fault("input", &format!("does not fit the input_schema of {}: {misfit}", export.id));
        }
    }
    Some(HealthCheck { export: export.id.clone(), input, expect: section.get("expect").map(Node::json) })
}

/// Those that the manifest names, and those of its adapters.
fn kits(root: &Section<'_>, runtime: &Runtime, adapters: &[Adapter]) -> Vec<Kit> {
    let mut kits = Vec::new();
    if let (Runtime::Loader(of), Some(_)) = (runtime, root.get("kits")) {
        root.fault("kits", &format!("a package of {of} cannot have kits"));
        return kits;
    }
    for section in [root.clone()].into_iter().chain(adapters.iter().map(|one| root.instead(one.manifest()))) {
        for name in section.texts("kits") {
            match KITS.iter().find(|(word, _)| *word == name) {
                Some((_, kit)) if !kits.contains(kit) => kits.push(*kit),
                Some(_) => {}
                None => {
                    root.fault("kits", &format!("there is no kit {name:?}; there are rest, a2a and data"));
                }
            }
        }
    }
    kits
}

fn session(root: &Section<'_>) -> SessionPolicy {
    let words =
        [("none", SessionMode::None), ("sticky", SessionMode::Sticky), ("isolated", SessionMode::Isolated)];
    if let Some(Node::Scalar { .. }) = root.get("session") {
        let mode = root.word("session", &words).unwrap_or(SessionMode::None);
        return SessionPolicy { mode, idle_ttl: IDLE_TTL, max_ttl: MAX_TTL };
    }
    let section = root.section("session");
    SessionPolicy {
        mode: section.word("mode", &words).unwrap_or(SessionMode::None),
        idle_ttl: section.duration("idle_ttl").unwrap_or(IDLE_TTL),
        max_ttl: section.duration("max_ttl").unwrap_or(MAX_TTL),
    }
}

fn workers(root: &Section<'_>) -> WorkerPolicy {
    let section = root.section("workers");
    let min = section.number("min", 0..=10_000).unwrap_or(1);
    let max = match section.get("max") {
        Some(Node::Scalar { text, .. }) if text == "auto" => None,
        _ => section.number("max", 1..=10_000),
    };
    if max.is_some_and(|max| max < min) {
        section.fault("max", "is less than workers.min");
    }
    let starts = [("auto", StartMode::Auto), ("fork", StartMode::Fork), ("spawn", StartMode::Spawn)];
    WorkerPolicy {
        min: min as u32,
        max: max.map(|max| max as u32),
        start: section.word("start", &starts).unwrap_or(StartMode::Auto),
        memory_mb: section.number("memory_mb", 16..=1_048_576).unwrap_or(MEMORY_MB),
    }
}

fn permissions(root: &Section<'_>) -> Permissions {
    if matches!(root.get("permissions"), Some(Node::List(_))) {
        // The SDK once wrote scopes here, which are the orchestrator's business.
        root.warn("permissions", "a list is not understood and ignored");
        return Permissions { subprocess: true, net_bind: Some(Vec::new()), ..Permissions::default() };
    }
    let section = root.section("permissions");
    Permissions {
        fs_read: paths(&section, "fs_read"),
        fs_write: paths(&section, "fs_write"),
        net_connect: ports(&section, "net_connect", None),
        net_bind: ports(&section, "net_bind", Some(Vec::new())),
        subprocess: section.flag("subprocess").unwrap_or(true),
    }
}

/// `any` (`None`), `none` or a list of ports.
fn ports(section: &Section<'_>, key: &str, otherwise: Option<Vec<u16>>) -> Option<Vec<u16>> {
    match section.get(key) {
        None => otherwise,
        Some(Node::Scalar { text, .. }) if text == "any" => None,
        Some(Node::Scalar { text, .. }) if text == "none" => Some(Vec::new()),
        Some(_) => {
            let texts = section.texts(key);
            let ports: Option<Vec<u16>> =
                texts.iter().map(|text| text.parse().ok().filter(|port| *port > 0)).collect();
            if ports.is_none() {
                section.fault(key, "any, none or a list of ports is expected");
            }
            Some(ports.unwrap_or_default())
        }
    }
}

fn paths(section: &Section<'_>, key: &str) -> Vec<String> {
    let paths = section.texts(key);
    if paths.iter().any(|path| path.is_empty() || path.contains('\0')) {
        section.fault(key, "has an empty path");
    }
    paths
}

fn environment(root: &Section<'_>) -> BTreeMap<String, String> {
    let section = root.section("environment");
    let mut map = BTreeMap::new();
    for (name, value) in root.text_map("environment") {
        if !is_variable(&name) {
            section.fault(&name, "is no name of a variable");
        } else if value.contains('\0') {
            section.fault(&name, "has a NUL character");
        } else {
            map.insert(name, value);
        }
    }
    map
}

/// Whether a text can name an environment variable.
pub(crate) fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
