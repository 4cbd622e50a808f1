//! Protocol Buffers on the wire (encoding of proto3): the fields of a message out of its bytes, and bytes out of fields.
//! Of a stranger's bytes nothing is allocated; what is kept borrows from them.

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// They end within a field.
    #[error("the message ends within a field")]
    Cut,
    /// A number is longer than 64 bits.
    #[error("a number of the message is too long")]
    Number,
    /// Field 0, or a kind of field that proto3 does not have.
    #[error("the message has a field of no known kind")]
    Kind,
    /// A text that is not UTF-8.
    #[error("a text of the message is not UTF-8")]
    Text,
    /// A field is there in another kind than its message says.
    #[error("a field of the message has another kind than it should")]
    Unexpected,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A number, a flag, an enumeration.
    Number(u64),
    /// A text, bytes, a message.
    Bytes(&'a [u8]),
    /// Four or eight bytes; no message of ours has such a field.
    Fixed,
}

impl<'a> Value<'a> {
    /// The bytes of a message.
    pub(super) const fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) | Self::Fixed => Err(Malformed::Unexpected),
        }
    }

    /// A text.
    pub(super) fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed::Text)
    }

    /// A number.
    pub(super) const fn number(self) -> Result<u64, Malformed> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Bytes(_) | Self::Fixed => Err(Malformed::Unexpected),
        }
    }
}

/// The fields of a message in their order; ends after the first fault.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Of these bytes.
    pub(super) const fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for place in 0..10 {
            let (&byte, rest) = self.rest.split_first().ok_or(Malformed::Cut)?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            // Of the tenth byte only one bit has room.
            if place == 9 && bits > 1 {
                return Err(Malformed::Number);
            }
            number |= bits << (7 * place);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed::Number)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed::Cut)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Cut)?;
        self.rest = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0).ok_or(Malformed::Kind)?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Malformed::Kind),
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// A message that is being written. As in proto3, a value that is the default of its kind is left out.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// With a number, a flag or an enumeration.
    pub(super) fn number(mut self, field: u32, value: u64) -> Self {
        if value != 0 {
            self.varint(u64::from(field) << 3);
            self.varint(value);
        }
        self
    }

    /// With a text.
    pub(super) fn text(self, field: u32, value: &str) -> Self {
        if value.is_empty() { self } else { self.message(field, value.as_bytes()) }
    }

    /// With a message within it, or an item of a list; also if that is empty.
    pub(super) fn message(mut self, field: u32, value: &[u8]) -> Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// Its bytes.
    pub(super) fn bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
        Fields::of(bytes).collect()
    }

    #[test]
    fn what_was_written_is_read_back() {
        let bytes = Message::default()
            .number(1, 300)
            .text(2, "ä")
            .message(536_870_911, &[])
            .number(4, u64::MAX)
            .text(5, "")
            .number(6, 0)
            .bytes();
        let fields = read(&bytes).unwrap();
        assert_eq!(
            fields,
            [
                (1, Value::Number(300)),
                (2, Value::Bytes("ä".as_bytes())),
                (536_870_911, Value::Bytes(&[])),
                (4, Value::Number(u64::MAX)),
            ],
            "defaults are left out"
        );
    }

    #[test]
    fn fixed_fields_are_passed_over() {
        let bytes = [&[0x0d, 1, 2, 3, 4, 0x11][..], &[0; 8], &[0x18, 7]].concat();
        assert_eq!(read(&bytes).unwrap(), [(1, Value::Fixed), (2, Value::Fixed), (3, Value::Number(7))]);
    }

    #[test]
    fn what_is_no_message_is_refused_by_its_fault() {
        for (bytes, wanted) in [
            (&[0x08][..], Malformed::Cut),
            (&[0x0a, 2, 1], Malformed::Cut),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Malformed::Cut),
            (&[0x09, 1, 2, 3], Malformed::Cut),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], Malformed::Number),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Malformed::Number),
            (&[0x02, 0], Malformed::Kind),
            (&[0x0b], Malformed::Kind),
            (&[0x0f, 0], Malformed::Kind),
        ] {
            assert_eq!(read(bytes), Err(wanted), "{bytes:?}");
        }
        assert_eq!(Value::Bytes(&[0xff]).text(), Err(Malformed::Text));
        assert_eq!(Value::Number(1).text(), Err(Malformed::Unexpected));
        assert_eq!(Value::Fixed.number(), Err(Malformed::Unexpected));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_fields_or_one_fault(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let fields: Vec<_> = Fields::of(&bytes).collect();
            let faults = fields.iter().filter(|field| field.is_err()).count();
            prop_assert!(faults <= 1 && fields.last().is_none_or(|last| faults == 0 || last.is_err()));
        }
    }
}
