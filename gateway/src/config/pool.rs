//! What the pool is told: the part of the configuration that is about packages and workers.

use std::path::{Path, PathBuf};

use par_pool::{
    fleet::{EventSink, ObituarySink, PoolSettings},
    package::{Loaders, PackageSettings},
};

use super::{Config, raw::Environment};

impl From<&Config> for PackageSettings {
    fn from(config: &Config) -> Self {
        Self {
            data_dir: config.data_dir.clone(),
            cache_dir: config.packages.cache_dir.clone(),
            max_package_bytes: config.packages.max_package_bytes,
            download_timeout: config.packages.download_timeout,
            download_idle_timeout: config.packages.download_idle_timeout,
            // Rights and objects of a deployment that has just begun may come a moment later.
            tries_of_refused: if config.single.is_some() { 3 } else { 1 },
            max_cache_bytes: config.packages.max_cache_bytes,
            s3: config.packages.s3.clone(),
            signatures: config.packages.signatures.clone(),
            install_timeout: config.packages.install_timeout,
            wheelhouse: config.packages.wheelhouse.clone(),
            uv: config.pool.uv.clone(),
            pythons: config.pool.pythons.clone(),
            loaders: Loaders::new(config.pool.loaders.clone(), ourselves()),
            pass_env: config.pool.pass_env.clone(),
            adapters: config.packages.adapters.clone(),
        }
    }
}

impl From<&Config> for PoolSettings {
    fn from(config: &Config) -> Self {
        Self {
            packages: config.into(),
            data_dir: config.data_dir.clone(),
            max_packages: if config.single.is_some() { 1 } else { config.packages.max_packages },
            request_timeout: config.limits.request_timeout,
            max_concurrent: config.limits.max_concurrent,
            import_timeout: config.pool.import_timeout,
            idle_ttl: config.pool.idle_ttl,
            pack_budget: config.pool.pack_budget,
            dev: config.dev,
            events: EventSink::none(),
            obituaries: ObituarySink::none(),
            rollout: config.rollout.clone(),
            sessions: config.sessions,
            sandbox: config.sandbox.clone(),
            alias: config.single.as_ref().map(|single| single.agent_app_id.clone().into()),
            registry: config.registry.clone(),
        }
    }
}

/// This program's file.
fn ourselves() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"))
}

/// `uv` where it usually is: on PATH, beside a configured interpreter, beside ourselves, `~/.local/bin`,
/// `~/.cargo/bin`.
pub(super) fn find_uv(pythons: &[PathBuf], environment: &Environment) -> Option<PathBuf> {
    let path = environment.get("PATH").unwrap_or_default();
    let ourselves = std::env::current_exe().ok();
    let home = environment.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    std::env::split_paths(path)
        .chain(pythons.iter().chain(&ourselves).filter_map(|file| file.parent().map(Path::to_path_buf)))
        .chain(home.iter().flat_map(|home| [home.join(".local/bin"), home.join(".cargo/bin")]))
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join("uv"))
        .find(|candidate| is_executable(candidate))
}

/// Whether a file exists and somebody may run it.
pub(super) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn uv_is_found_on_path_beside_python_and_in_the_home_directory() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str, mode| {
            let file = root.path().join(name).join("uv");
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            file
        };
        let home = root.path().to_str().unwrap().to_owned();
        let environment = |path: &str| [("PATH", path), ("HOME", home.as_str())].into_iter().collect();
        assert_eq!(find_uv(&[], &environment("relative")), None);
        let in_home = put(".local/bin", 0o755);
        assert_eq!(find_uv(&[], &environment("")), Some(in_home));
        let beside = put("python/bin", 0o755);
        let python = root.path().join("python/bin/python3");
        assert_eq!(find_uv(std::slice::from_ref(&python), &environment("")), Some(beside));
        put("plain", 0o644);
        let on_path = put("path", 0o755);
        let path = format!("{home}/plain:{home}/path");
        assert_eq!(find_uv(&[python], &environment(&path)), Some(on_path));
    }
}
