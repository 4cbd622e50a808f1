//! The nursery's end of the control socket. Blocking: one thing at a time is asked of it.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags, recvmsg, sendmsg,
};
use serde_json::{Map, Value};

/// Longest datagram, as on the other side: an `init` has a few hundred bytes for each export.
const DATAGRAM: usize = 262_144;

/// One datagram: its only key, what stands under it, and the descriptors that came with it.
pub(super) struct Message {
    pub(super) name: String,
    pub(super) body: Value,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// The other end.
pub(super) struct Peer(OwnedFd);

impl Peer {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// The next message; `None` at the end.
    pub(super) fn receive(&self) -> io::Result<Option<Message>> {
        let mut bytes = vec![0; DATAGRAM];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(6))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(&self.0, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let descriptors = ancillary
            .drain()
            .filter_map(|message| {
                let RecvAncillaryMessage::ScmRights(descriptors) = message else { return None };
                Some(descriptors)
            })
            .flatten()
            .collect();
        if received.bytes == 0 {
            return Ok(None);
        }
        let object: Map<String, Value> =
            serde_json::from_slice(bytes.get(..received.bytes).unwrap_or_default())?;
        let (name, body) =
            object.into_iter().next().ok_or_else(|| io::Error::other("a message has no member"))?;
        Ok(Some(Message { name, body, descriptors }))
    }

    /// Sends one object.
    pub(super) fn send(&self, message: &Value) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let parts = [IoSlice::new(&bytes)];
        sendmsg(&self.0, &parts, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
