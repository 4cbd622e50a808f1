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
    fs::write(Path::new(&out).join("worker_files.rs"), code)
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
