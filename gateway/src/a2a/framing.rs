//! Messages in a body of gRPC: a flag, a length of four bytes, the message; one after the other.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Flag and length.
const PREFIX: usize = 5;

/// Why a body is not one of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    /// The message is longer than is taken.
    #[error("the message is over the limit of {0} bytes")]
    TooLarge(usize),
    /// The message is compressed.
    #[error("compressed messages are not taken here; grpc-accept-encoding says what is")]
    Compressed,
    /// The flag is neither 0 nor 1.
    #[error("the body is not framed as gRPC demands")]
    Flag,
    /// The body ends within a message.
    #[error("the body ends within a message")]
    Cut,
}

/// What has come of a body, message by message. It holds no more than the messages that came and one that is cut.
#[derive(Debug)]
pub(crate) struct Inbox {
    came: BytesMut,
    limit: usize,
}

impl Inbox {
    /// For messages of at most so many bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { came: BytesMut::new(), limit }
    }

    /// Takes what has come.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.came.extend_from_slice(bytes);
    }

    /// The next message, if all of it is there.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, Flaw> {
        let Some((&[flag, a, b, c, d], _)) = self.came.split_first_chunk::<PREFIX>() else { return Ok(None) };
        match flag {
            0 => {}
            1 => return Err(Flaw::Compressed),
            _ => return Err(Flaw::Flag),
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > self.limit {
            return Err(Flaw::TooLarge(self.limit));
        }
        if self.came.len() < PREFIX + length {
            return Ok(None);
        }
        let mut message = self.came.split_to(PREFIX + length);
        Ok(Some(message.split_off(PREFIX).freeze()))
    }

    /// The one message of a whole body.
    pub(crate) fn only(mut self) -> Result<Bytes, Flaw> {
        let message = self.next()?.ok_or(Flaw::Cut)?;
        if self.came.is_empty() { Ok(message) } else { Err(Flaw::Flag) }
    }

    /// Whether the body may end here.
    pub(crate) fn is_between(&self) -> bool {
        self.came.is_empty()
    }
}

/// A message as it stands in a body.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(PREFIX + message.len());
    out.put_u8(0);
    out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    out.put_slice(message);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox(bytes: &[u8]) -> Inbox {
        let mut inbox = Inbox::new(10);
        inbox.push(bytes);
        inbox
    }

    #[test]
    fn messages_are_found_however_the_bytes_are_cut() {
        let wire = [framed(b"one"), framed(b""), framed(b"threethree")].concat();
        for size in [1, 2, 4, 5, 6, 100] {
            let mut inbox = Inbox::new(10);
            let mut found = vec![];
            for piece in wire.chunks(size) {
                inbox.push(piece);
                while let Some(message) = inbox.next().unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, ["one", "", "threethree"], "pieces of {size}");
            assert!(inbox.is_between());
        }
    }

    #[test]
    fn what_is_not_framed_is_refused_before_it_is_kept() {
        assert_eq!(inbox(&[0, 0, 0, 0, 11]).next(), Err(Flaw::TooLarge(10)));
        assert_eq!(inbox(&[0, 255, 255, 255, 255]).next(), Err(Flaw::TooLarge(10)));
        assert_eq!(inbox(&[1, 0, 0, 0, 1, 0]).next(), Err(Flaw::Compressed));
        assert_eq!(inbox(&[2, 0, 0, 0, 1, 0]).next(), Err(Flaw::Flag));
        assert!(!inbox(&[0, 0]).is_between());
    }

    #[test]
    fn a_call_of_one_message_has_exactly_one() {
        assert_eq!(inbox(&framed(b"x")).only(), Ok(Bytes::from_static(b"x")));
        assert_eq!(inbox(b"").only(), Err(Flaw::Cut));
        assert_eq!(inbox(&[0, 0, 0, 0, 2, 1]).only(), Err(Flaw::Cut));
        assert_eq!(inbox(&[framed(b"x"), framed(b"y")].concat()).only(), Err(Flaw::Flag));
    }
}
