//! `agent.yaml`: raw as written, checked as meant. The root of a package enters, a [`Package`] leaves, or all that
//! is wrong with its manifest at once.

use std::{fs::File, io::Read, path::Path};

use self::{adapter::AdapterRule, checked::Package};
use super::{Loaders, PullError, Step};

pub mod adapter;
pub mod checked;
pub mod raw;
pub mod schema;
pub mod variants;

mod agents;
mod compare;
mod depth;
mod handler;
mod runtime;
mod section;
mod surfaces;

pub(crate) use compare::Comparisons;

/// Largest `agent.yaml`. Manifests with schemas of dozens of agents stay below 100 KB.
const MAX_BYTES: u64 = 1 << 20;

/// Reads and checks the manifest of the package at `root`, which may get an adapter by these rules. What leaves besides
/// is odd but not refused.
pub fn read(
    root: &Path,
    loaders: &Loaders,
    rules: &[AdapterRule],
) -> Result<(Package, Vec<String>), PullError> {
    let refused = |detail: String| PullError::refused(Step::Manifest, detail);
    let Ok(file) = File::open(root.join("agent.yaml")) else {
        return Err(refused(missing(root)));
    };
    let mut text = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(|error| refused("agent.yaml cannot be read".to_owned()).with_log(error.to_string()))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(refused("agent.yaml is larger than 1 MiB".to_owned()));
    }
    let text = std::str::from_utf8(&text).map_err(|_| refused("agent.yaml is not UTF-8".to_owned()))?;
    let node = raw::parse(text).map_err(|error| refused(error.to_string()))?;
    let (mut package, mut warnings) =
        variants::check(&node, loaders, adapter::by_rule(root, &node, rules))
            .map_err(|faults| refused(format!("agent.yaml: {}", faults.join("; "))))?;
    place_ui(root, &mut package, &mut warnings);
    Ok((package, warnings))
}

fn missing(root: &Path) -> String {
    let nested =
        walkdir::WalkDir::new(root).min_depth(2).max_depth(4).sort_by_file_name().into_iter().flatten();
    let mut nested = nested.filter(|entry| entry.file_name() == "agent.yaml");
    let place = nested
        .next()
        .and_then(|entry| entry.path().strip_prefix(root).ok().map(|path| path.display().to_string()));
    let found = place.map(|place| format!("; there is one at {place}")).unwrap_or_default();
    format!("agent.yaml is missing at the root of the archive{found}")
}

/// PAK copies the UI to `dist/ui` and nowhere else, so that is where to look when its own path is not there.
fn place_ui(root: &Path, package: &mut Package, warnings: &mut Vec<String>) {
    let Some(ui) = &mut package.surfaces.ui else { return };
    if root.join(&ui.path).is_dir() {
        return;
    }
    let packed = format!("dist/{}", ui.path);
    if let Some(place) = [packed.as_str(), "dist/ui"].into_iter().find(|place| root.join(place).is_dir()) {
        place.clone_into(&mut ui.path);
    } else {
        warnings.push(format!("ui.path: the package has no directory {:?}", ui.path));
    }
}

#[cfg(test)]
mod tests;
