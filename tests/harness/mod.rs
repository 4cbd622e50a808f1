//! Drives the real `par`: starts it on free ports with a data directory of its own, speaks to it, reads its log,
//! looks at its processes, and makes packages for it, good and hostile.

mod apkg;
mod asked;
pub(crate) mod authority;
mod client;
mod command;
mod day_clock;
pub(crate) mod endpoint;
mod eventually;
mod faults;
pub(crate) mod forge;
mod gpg;
mod group;
pub(crate) mod grpc;
pub(crate) mod http2;
mod https;
pub(crate) mod issuer;
mod log;
mod not_checked;
mod output;
mod par;
pub(crate) mod process;
mod raw;
mod receiver;
mod registry;
mod s3;
mod sender;
mod settings;
mod stream;
pub(crate) mod stripe;
pub(crate) mod telemetry;
mod traffic;
pub(crate) mod websocket;
mod zip_by_hand;

use std::path::PathBuf;

use tempfile::TempDir;

pub(crate) use self::par::{Par, ParBuilder, free_ports, par};
pub(crate) use apkg::{Package, zip_directory};
pub(crate) use asked::{Asked, Fault, Script};
pub(crate) use authority::{Authority, Issued};
pub(crate) use client::{Answer, Answered, Client};
pub(crate) use command::{par_command, shared_cache};
pub(crate) use day_clock::DayClock;
pub(crate) use eventually::{eventually, eventually_within};
pub(crate) use faults::Faults;
pub(crate) use gpg::{Gpg, Key};
pub(crate) use group::Group;
pub(crate) use grpc::{CLIENTS, GrpcClient, Rpc, Told};
pub(crate) use https::HttpsServer;
pub(crate) use issuer::IdentityProvider;
pub(crate) use log::Line;
pub(crate) use not_checked::not_checked;
pub(crate) use output::Output;
pub(crate) use raw::{RawConnection, status_of};
pub(crate) use receiver::{Delivery, Receiver};
pub(crate) use registry::{Index, put_index};
pub(crate) use s3::S3Server;
pub(crate) use sender::Sender;
pub(crate) use stream::Streamed;
pub(crate) use stripe::Stripe;
pub(crate) use traffic::Traffic;
pub(crate) use websocket::WebSocket;
pub(crate) use zip_by_hand::{Entry, ZipByHand};

/// A package directory of `tests/agents`.
pub(crate) fn agent(name: &str) -> PathBuf {
    let path = repository().join("tests/agents").join(name);
    assert!(path.join("agent.yaml").is_file(), "no package {}", path.display());
    path
}

/// The checkout.
pub(crate) fn repository() -> PathBuf {
    let gateway = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    gateway.parent().expect("the gateway lies in the checkout").to_path_buf()
}

/// A directory that goes away with the test. Its path is short: sockets may lie below it.
pub(crate) fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("par-").tempdir().expect("a temporary directory")
}
