//! Bytes to packets: armoured blocks or binary in, keys and signatures out.

use std::{io::Read, path::Path};

use pgp::{
    armor::{BlockType, Dearmor},
    errors::Error,
    packet::{Packet, PacketParser, Signature},
};

use super::{KeyringError, LARGEST_SIGNATURE, MOST_SIGNATURES, SignatureError, certificate::Certificates};

/// How an armoured block begins and ends, at the start of a line.
const BEGIN: &[u8] = b"-----BEGIN PGP ";
const END: &[u8] = b"-----END PGP ";

/// What is wrong with a file of keys.
pub(super) enum Fault {
    NoKey,
    SecretKey,
    Message,
    Block(BlockType),
    Damaged(Error),
}

impl Fault {
    pub(super) fn of(self, file: &Path) -> KeyringError {
        let file = file.to_owned();
        match self {
            Self::NoKey => KeyringError::NoKey { file },
            Self::SecretKey => KeyringError::SecretKey { file },
            Self::Message => KeyringError::Garbage { file, found: "a message".to_owned() },
            Self::Block(kind) => KeyringError::Garbage { file, found: format!("a {kind}") },
            Self::Damaged(error) => KeyringError::Damaged { file, source: Box::new(error) },
        }
    }
}

/// One block of packets. Binary bytes are one block of no type.
struct Block {
    kind: Option<BlockType>,
    bytes: Vec<u8>,
}

/// Adds the keys of a file.
pub(super) fn keys(bytes: &[u8], to: &mut Certificates) -> Result<(), Fault> {
    let mut found = false;
    for block in blocks(bytes).map_err(Fault::Damaged)? {
        match block.kind {
            None | Some(BlockType::PublicKey) => {}
            Some(BlockType::PrivateKey) => return Err(Fault::SecretKey),
            Some(other) => return Err(Fault::Block(other)),
        }
        to.begin();
        for packet in PacketParser::new(block.bytes.as_slice()) {
            match packet {
                Ok(Packet::SecretKey(_) | Packet::SecretSubkey(_)) => return Err(Fault::SecretKey),
                Ok(Packet::PublicKey(key)) => {
                    found = true;
                    to.key(key);
                }
                Ok(Packet::PublicSubkey(key)) => to.subkey(key),
                Ok(Packet::UserId(id)) => to.user(pgp::types::Tag::UserId, &id),
                Ok(Packet::UserAttribute(attribute)) => to.user(pgp::types::Tag::UserAttribute, &attribute),
                Ok(Packet::Signature(signature)) => to.signature(signature),
                // GnuPG's own notes, and fill.
                Ok(Packet::Trust(_) | Packet::Marker(_) | Packet::Padding(_)) => {}
                Ok(
                    Packet::CompressedData(_)
                    | Packet::LiteralData(_)
                    | Packet::ModDetectionCode(_)
                    | Packet::OnePassSignature(_)
                    | Packet::PublicKeyEncryptedSessionKey(_)
                    | Packet::SymEncryptedData(_)
                    | Packet::SymEncryptedProtectedData(_)
                    | Packet::SymKeyEncryptedSessionKey(_)
                    | Packet::GnupgAeadData(_),
                ) => return Err(Fault::Message),
                // Nothing is skipped: what cannot be read may be a revocation.
                Err(error) => return Err(Fault::Damaged(error)),
            }
        }
    }
    if found { Ok(()) } else { Err(Fault::NoKey) }
}

/// The signatures of a blob; at least one.
pub(super) fn signatures(bytes: &[u8]) -> Result<Vec<Signature>, SignatureError> {
    if bytes.len() > LARGEST_SIGNATURE {
        return Err(SignatureError::Garbage("it is longer than signatures are"));
    }
    let damaged = |error| SignatureError::Damaged(Box::new(error));
    let mut signatures = Vec::new();
    for block in blocks(bytes).map_err(damaged)? {
        if !matches!(block.kind, None | Some(BlockType::Signature)) {
            return Err(SignatureError::Garbage("it is an armoured block of another kind"));
        }
        for packet in PacketParser::new(block.bytes.as_slice()) {
            match packet.map_err(damaged)? {
                Packet::Signature(signature) => signatures.push(signature),
                Packet::Marker(_) | Packet::Padding(_) => {}
                Packet::CompressedData(_)
                | Packet::PublicKey(_)
                | Packet::PublicSubkey(_)
                | Packet::SecretKey(_)
                | Packet::SecretSubkey(_)
                | Packet::LiteralData(_)
                | Packet::ModDetectionCode(_)
                | Packet::OnePassSignature(_)
                | Packet::PublicKeyEncryptedSessionKey(_)
                | Packet::SymEncryptedData(_)
                | Packet::SymEncryptedProtectedData(_)
                | Packet::SymKeyEncryptedSessionKey(_)
                | Packet::Trust(_)
                | Packet::UserAttribute(_)
                | Packet::UserId(_)
                | Packet::GnupgAeadData(_) => {
                    return Err(SignatureError::Garbage("it holds something else than signatures"));
                }
            }
        }
    }
    if signatures.len() > MOST_SIGNATURES {
        return Err(SignatureError::Garbage("it holds too many signatures"));
    }
    if signatures.is_empty() { Err(SignatureError::Garbage("it holds no signature")) } else { Ok(signatures) }
}

/// Binary packets begin with a byte that no text begins with. Text may hold several armoured blocks and words around
/// them.
fn blocks(bytes: &[u8]) -> Result<Vec<Block>, Error> {
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        return Ok(vec![Block { kind: None, bytes: bytes.to_vec() }]);
    }
    let mut blocks = Vec::new();
    let mut rest = bytes;
    while let Some(block) = lines_from(rest, BEGIN) {
        // Up to the end of the line that ends it; without one it is cut, and what parses it says so.
        let end = lines_from(block, END).map_or(block.len(), |end| {
            let line = end.iter().position(|byte| *byte == b'\n').map_or(end.len(), |newline| newline + 1);
            block.len() - end.len() + line
        });
        let (block, behind) = block.split_at(end);
        let mut armour = Dearmor::new(block);
        armour.read_header()?;
        let mut bytes = Vec::new();
        armour.read_to_end(&mut bytes)?;
        blocks.push(Block { kind: armour.typ, bytes });
        rest = behind;
    }
    Ok(blocks)
}

/// The rest of a text from the first line that begins like this.
fn lines_from<'a>(text: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    if text.starts_with(mark) {
        return Some(text);
    }
    let newlines = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    newlines.filter_map(|(at, _)| text.get(at + 1..)).find(|line| line.starts_with(mark))
}
