//! References: the text of a `$ref` enters, the place or the anchor in the same document leaves, or why it is neither.

/// What a reference leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// JSON Pointer, as [`escaped`] writes names.
    Place(String),
    /// The name of an anchor.
    Anchor(String),
}

impl Reference {
    /// Reads `#`, `#/a/b` or `#anchor`.
    ///
    /// # Errors
    /// Everything else leads out of the document, or nowhere.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let Some(fragment) = text.strip_prefix('#') else {
            return Err("it leads out of this document: only references that begin with # are followed");
        };
        let fragment = decoded(fragment).ok_or("it is no reference")?;
        if fragment.is_empty() || fragment.starts_with('/') {
            Ok(Self::Place(canonical(&fragment)))
        } else {
            Ok(Self::Anchor(fragment))
        }
    }
}

/// The text of a fragment: `%41` is `A` (RFC 3986 §2.1).
fn decoded(fragment: &str) -> Option<String> {
    let mut parts = fragment.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(part.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// A pointer as a fragment: what RFC 3986 §3.5 does not let stand there is percent-encoded.
pub(super) fn encoded(pointer: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::new();
    for byte in pointer.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/$".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let digit = |half: u8| DIGITS.get(usize::from(half)).copied().map_or('0', char::from);
            text.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    text
}

/// A pointer as [`escaped`] would write it.
fn canonical(pointer: &str) -> String {
    pointer.split('/').map(|token| escaped(&unescaped(token))).collect::<Vec<_>>().join("/")
}

fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// A name as part of a JSON Pointer (RFC 6901 §3).
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_places_or_anchors() {
        let place = |text: &str| Ok(Reference::Place(text.to_owned()));
        assert_eq!(Reference::parse("#"), place(""));
        assert_eq!(Reference::parse("#/%24defs/Box%3Cint%3E"), place("/$defs/Box<int>"));
        assert_eq!(Reference::parse("#/a~1b~0~"), place("/a~1b~0~0"));
        assert_eq!(Reference::parse("#here"), Ok(Reference::Anchor("here".to_owned())));
        for broken in ["#/%", "#/%4", "#/%zz", "#/%ff", "#%é"] {
            assert_eq!(Reference::parse(broken), Err("it is no reference"), "{broken}");
        }
        for pointer in ["/$defs/a~1b", "/x y/é<>%"] {
            let Ok(Reference::Place(read)) = Reference::parse(&format!("#{}", encoded(pointer))) else {
                panic!()
            };
            assert_eq!(read, pointer);
        }
    }
}
