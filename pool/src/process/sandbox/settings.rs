//! What the operator decides about the sandbox.

use std::path::PathBuf;

/// How much of the sandbox there has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxMode {
    /// As much as the kernel can; what is missing is told.
    Auto,
    /// All of it, or no package is mounted.
    Require,
    /// None: packages reach what the runtime's user reaches.
    Off,
}

/// The sandbox of all packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSettings {
    /// How much of it there has to be.
    pub mode: SandboxMode,
    /// Paths that every package may read and run programs from.
    pub read: Vec<PathBuf>,
    /// Paths that no package reaches, whatever it is granted: files with secrets. The data directory is
    /// always one.
    pub hidden: Vec<PathBuf>,
    /// Most processes and threads of one package at a time.
    pub processes: u32,
    /// Largest file that an agent may write.
    pub file_bytes: u64,
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            mode: SandboxMode::Auto,
            read: Vec::new(),
            hidden: Vec::new(),
            processes: 512,
            file_bytes: 1 << 30,
        }
    }
}
