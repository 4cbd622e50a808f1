//! The Python half of workers as bytecode: our code and an interpreter enter, files beside the code leave.
//!
//! Without it every template compiles that code anew, which takes half of the time of a rollout of code alone: a template
//! may not write there, and it must not, since what one package writes another one would run.

use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    interpreter::Interpreter,
    tool::{Tools, arguments},
};

/// Far more than forty small files take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Our code, and for which interpreters it was compiled.
#[derive(Debug)]
pub(super) struct Bytecode {
    /// The directory of the package `pixell_runtime`.
    code: PathBuf,
    tools: Tools,
    begun: Mutex<HashSet<String>>,
}

impl Bytecode {
    /// Code that nobody writes to any more.
    pub(super) fn new(code: PathBuf, tools: Tools) -> Self {
        Self { code, tools, begun: Mutex::default() }
    }

    /// Compiles for an interpreter, unless that was done. Templates that start before it has ended compile for themselves.
    pub(super) async fn provide(&self, interpreter: &Interpreter) {
        let marker = self.code.join(format!("__pycache__/{}.complete", interpreter.tag));
        if !self.begun.lock().insert(interpreter.tag.clone()) || marker.exists() {
            return;
        }
        let command = arguments([&"-I", &"-m", &"compileall", &"-q", &self.code]);
        let compiled = self.tools.run(&interpreter.path, &command, Instant::now() + PATIENCE).await;
        let outcome = compiled
            .map_err(|error| error.to_string())
            .and_then(|_| fs::write(&marker, "").map_err(|error| error.to_string()));
        if let Err(error) = outcome {
            tracing::debug!(interpreter = interpreter.tag, error, "the code of workers is not compiled");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{environment::interpreters::Interpreters, manifest::checked::PythonWanted};

    #[tokio::test]
    async fn code_is_compiled_once_for_all_starts() {
        let directory = tempfile::tempdir().unwrap();
        let tools = Tools::new(directory.path(), None).unwrap();
        let interpreters = Interpreters::new(&[], tools.clone(), directory.path().join("interpreters.json"));
        let (interpreter, _) = interpreters.choose(&PythonWanted::Any).await.unwrap();
        let code = directory.path().join("code");
        fs::create_dir_all(code.join("inner")).unwrap();
        fs::write(code.join("b.py"), "B = 1\n").unwrap();
        fs::write(code.join("inner/a.py"), "A = 1\n").unwrap();
        Bytecode::new(code.clone(), tools.clone()).provide(&interpreter).await;
        let compiled = code.join(format!("inner/__pycache__/a.{}.pyc", interpreter.tag));
        assert!(compiled.is_file());
        fs::remove_file(&compiled).unwrap();
        Bytecode::new(code.clone(), tools).provide(&interpreter).await;
        assert!(!compiled.exists(), "a second start finds it done");
    }
}
