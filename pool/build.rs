//! Collects the files of the workers for embedding.

use std::{env, fmt::Write as _, fs, io, path::Path};

fn main() -> io::Result<()> {
    let here = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    let workers = [
        ("PYTHON_FILES", Path::new(&here).join("worker").join("pixell_runtime")),
        ("NODE_FILES", Path::new(&here).join("worker-node")),
    ];
    let mut code = String::new();
    for (constant, package) in workers {
        println!("cargo::rerun-if-changed={}", package.display());
        let mut names = Vec::new();
        collect(&package, "", &mut names)?;
        names.sort();
        code.push_str("/// Name and content of every file of a worker.\n");
        writeln!(code, "const {constant}: &[(&str, &str)] = &[").map_err(io::Error::other)?;
        for name in names {
            let path = package.join(&name);
            println!("cargo::rerun-if-changed={}", path.display());
            writeln!(code, "    ({name:?}, include_str!({:?})),", path.display().to_string())
                .map_err(io::Error::other)?;
        }
        code.push_str("];\n");
    }
    fs::write(Path::new(&out).join("worker_files.rs"), code)?;
    let declared = Path::new(&here).join("worker").join("pixell_runtime").join("adapters");
    fs::write(Path::new(&out).join("adapters.rs"), adapters(&declared)?)
}

/// What the adapters of the worker's package declare: `adapter.yaml` of each folder that has one.
fn adapters(directory: &Path) -> io::Result<String> {
    println!("cargo::rerun-if-changed={}", directory.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let declaration = entry.path().join("adapter.yaml");
        if let (true, Ok(name)) = (declaration.is_file(), entry.file_name().into_string()) {
            println!("cargo::rerun-if-changed={}", declaration.display());
            found.push((name, declaration.display().to_string()));
        }
    }
    found.sort();
    let mut code = String::from("/// Folder and declaration of every adapter.\n");
    code.push_str("const ADAPTERS: &[(&str, &str)] = &[\n");
    for (name, declaration) in found {
        writeln!(code, "    ({name:?}, include_str!({declaration:?})),").map_err(io::Error::other)?;
    }
    code.push_str("];\n");
    Ok(code)
}

/// Adds the package's files, as paths below it, with those of its subpackages.
fn collect(directory: &Path, below: &str, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = entry.path();
        if path.join("__init__.py").is_file() {
            println!("cargo::rerun-if-changed={}", path.display());
            collect(&path, &format!("{below}{name}/"), names)?;
        } else if path.extension().is_some_and(|kind| kind == "py" || kind == "typed" || kind == "mjs") {
            names.push(format!("{below}{name}"));
        }
    }
    Ok(())
}
