//! The control socket of a template: one JSON object per datagram, descriptors with some of them.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{io::Interest, net::UnixDatagram};

/// Longest datagram: tracebacks are capped at 32 KiB by the worker's side, the rest is small.
const MAX_DATAGRAM: usize = 192 * 1024;

/// What a template is told first.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Init {
    pub(crate) package: String,
    pub(crate) root: String,
    pub(crate) sys_path: Vec<String>,
    /// Behind everything else on the import path.
    pub(crate) kits: Vec<String>,
    pub(crate) exports: Vec<InitExport>,
    pub(crate) preload: bool,
    pub(crate) dev: bool,
    /// `None`: the package has neither REST nor A2A.
    pub(crate) surfaces: Option<InitSurfaces>,
    /// `None`: the sandbox is off.
    pub(crate) sandbox: Option<InitSandbox>,
    /// The command line of a worker; `None`: workers are forked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) loader: Option<Vec<String>>,
}

/// What a template puts on itself and on its workers; programs in hexadecimal. The layer comes as a descriptor.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct InitSandbox {
    pub(crate) template: Option<String>,
    pub(crate) worker: Option<String>,
}

/// One handler to import.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct InitExport {
    pub(crate) id: String,
    pub(crate) module: String,
    pub(crate) attribute: String,
    pub(crate) concurrency: u32,
    pub(crate) threads: u32,
}

/// The surfaces that a primary serves.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct InitSurfaces {
    pub(crate) rest: Option<InitEntry>,
    pub(crate) a2a: Option<InitEntry>,
}

/// Where a surface begins.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct InitEntry {
    pub(crate) module: String,
    pub(crate) attribute: String,
    /// Whether it is an application itself and not a function that makes one.
    pub(crate) application: bool,
}

/// What a fork becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Becomes {
    /// A worker that answers calls.
    Worker,
    /// One that answers those of one session, with a temporary directory of its own. Its layer of the sandbox comes
    /// behind its descriptors, if there is one.
    Alone {
        /// That directory.
        temporary: PathBuf,
    },
    /// The process that serves the surfaces.
    Primary,
}

impl Becomes {
    /// How a template is asked for it.
    pub(crate) fn order(&self, number: u64) -> Value {
        match self {
            Self::Worker => json!({ "fork": number }),
            Self::Alone { temporary } => json!({ "alone": { "number": number, "temporary": temporary } }),
            Self::Primary => json!({ "primary": number }),
        }
    }

    /// What it is called in the log.
    pub(crate) const fn role(&self) -> &'static str {
        match self {
            Self::Worker | Self::Alone { .. } => "worker",
            Self::Primary => "primary",
        }
    }
}

/// How calls of an export share a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// `def`: one after the other.
    Sync,
    /// `async def`: interleaved on one loop.
    Async,
}

impl Lane {
    /// Its place in arrays by lane: sync first.
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Sync => 0,
            Self::Async => 1,
        }
    }
}

/// What a template found out about an export.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ExportFacts {
    /// The export's id.
    pub id: String,
    /// How its calls share a worker.
    pub lane: Lane,
    /// Whether it yields items.
    pub streams: bool,
}

/// Whether workers may be forked after the imports.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ForkVerdict {
    /// They may.
    pub safe: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// A template or a worker that is ready.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// Version of the interpreter.
    #[serde(default)]
    pub python: String,
    /// Time of the imports in seconds.
    #[serde(default)]
    pub import_seconds: f64,
    /// Whether workers may be forked.
    #[serde(default)]
    pub fork: Option<ForkVerdict>,
    /// Whether each worker enters a domain of its own.
    #[serde(default)]
    pub apart: bool,
    /// Facts per export, in the order of the manifest; empty before the imports.
    #[serde(default)]
    pub exports: Vec<ExportFacts>,
    /// What a primary serves; only a primary says so.
    #[serde(default)]
    pub surfaces: Option<SurfaceFacts>,
}

/// What a primary serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct SurfaceFacts {
    /// An ASGI application.
    pub rest: Option<RestFacts>,
    /// gRPC.
    pub a2a: Option<A2aFacts>,
}

/// An ASGI application.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RestFacts {
    /// What the entry turned out to be, for people.
    pub kind: String,
}

/// What a package offers by gRPC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct A2aFacts {
    /// Names of its own actions; `*` takes every name. The place in this list is the number of a call.
    #[serde(default)]
    pub actions: Vec<String>,
    /// Full names of its own services.
    #[serde(default)]
    pub services: Vec<String>,
    /// Abstract name of the Unix socket on which it serves them; `None` without any.
    #[serde(default)]
    pub socket: Option<String>,
    /// Serialized `FileDescriptorProto`s of its services and what they need, in base64.
    #[serde(default)]
    pub descriptors: Vec<String>,
}

/// Code that could not be imported.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ImportFailure {
    /// `sandbox`, `import`, `handler` or `surface`.
    pub phase: String,
    /// The export concerned, or the surface.
    #[serde(default)]
    pub export: Option<String>,
    /// Class of the exception.
    #[serde(rename = "type")]
    pub class: String,
    /// Its text.
    pub message: String,
    /// Its traceback.
    #[serde(default)]
    pub traceback: String,
}

/// What a template says.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    Ready(Ready),
    Failed(ImportFailure),
    #[serde(untagged)]
    Forked {
        forked: u64,
        pid: u32,
    },
    #[serde(untagged)]
    ForkFailed {
        fork_failed: u64,
        message: String,
    },
    #[serde(untagged)]
    Exited {
        exited: u32,
        status: i32,
    },
}

/// Our end of the socket. Tokio's datagram type serves any socket whose reads are whole messages.
#[derive(Debug)]
pub(crate) struct Control {
    socket: UnixDatagram,
}

impl Control {
    /// Takes our end; it must be non-blocking.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: UnixDatagram::from_std(fd.into())? })
    }

    /// Sends one object with descriptors.
    pub(crate) async fn send(&self, message: &impl Serialize, fds: &[OwnedFd]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        let sending = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(6))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !borrowed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
                return Err(io::Error::from(io::ErrorKind::InvalidInput));
            }
            let parts = [IoSlice::new(&bytes)];
            sendmsg(&self.socket, &parts, &mut ancillary, SendFlags::NOSIGNAL).map_err(io::Error::from)
        };
        self.socket.async_io(Interest::WRITABLE, sending).await.map(drop)
    }

    /// The next object; `None` at the end of the socket. Cancel-safe.
    pub(crate) async fn receive(&self) -> io::Result<Option<Said>> {
        let mut buffer = vec![0u8; MAX_DATAGRAM];
        match self.socket.recv(&mut buffer).await {
            Ok(0) => Ok(None),
            Ok(length) => Ok(Some(serde_json::from_slice(buffer.get(..length).unwrap_or_default())?)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error),
        }
    }
}
