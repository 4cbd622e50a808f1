//! Archives that no library would write: the format of APPNOTE.TXT, every field up to the test.

/// One entry, stored without compression.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Name in the central directory.
    pub(crate) name: Vec<u8>,
    /// Name in the local header, where it differs.
    pub(crate) local_name: Option<Vec<u8>>,
    /// Content.
    pub(crate) data: Vec<u8>,
    /// Unix mode with file type, as in `st_mode`.
    pub(crate) mode: u32,
    /// General purpose flags; bit 0: encrypted.
    pub(crate) flags: u16,
    /// Checksum, where it is a lie.
    pub(crate) crc: Option<u32>,
    /// Size, where it is a lie.
    pub(crate) size: Option<u32>,
}

impl Entry {
    /// An honest file.
    pub(crate) fn file(name: impl Into<Vec<u8>>, data: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            local_name: None,
            data: data.into(),
            mode: 0o100_644,
            flags: 0,
            crc: None,
            size: None,
        }
    }

    /// A symbolic link.
    pub(crate) fn link(name: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        Self { mode: 0o120_777, ..Self::file(name, target) }
    }
}

/// The archive so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct ZipByHand(Vec<Entry>);

impl ZipByHand {
    /// An archive that would be fine: a package that answers.
    pub(crate) fn harmless() -> Self {
        let manifest = "name: hostile\nversion: '1.0.0'\nentrypoint: main:run\n";
        Self::default()
            .entry(Entry::file("agent.yaml", manifest))
            .entry(Entry::file("main.py", "def run(input):\n    return 'it ran'\n"))
    }

    /// One more entry.
    pub(crate) fn entry(mut self, entry: Entry) -> Self {
        self.0.push(entry);
        self
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = vec![];
        let mut central = vec![];
        for entry in &self.0 {
            let offset = to_u32(out.len());
            let local_name = entry.local_name.as_ref().unwrap_or(&entry.name);
            out.extend(b"PK\x03\x04");
            out.extend(common(entry, local_name));
            out.extend(local_name);
            out.extend(&entry.data);

            central.extend(b"PK\x01\x02");
            central.extend(0x031e_u16.to_le_bytes()); // made by: Unix
            central.extend(common(entry, &entry.name));
            central.extend([0; 6]); // comment, disk, internal attributes
            central.extend((entry.mode << 16).to_le_bytes());
            central.extend(offset.to_le_bytes());
            central.extend(&entry.name);
        }
        let (count, start) = (u16::try_from(self.0.len()).expect("few entries"), to_u32(out.len()));
        out.extend(&central);
        out.extend(b"PK\x05\x06\0\0\0\0");
        out.extend(count.to_le_bytes());
        out.extend(count.to_le_bytes());
        out.extend(to_u32(central.len()).to_le_bytes());
        out.extend(start.to_le_bytes());
        out.extend([0; 2]);
        out
    }
}

/// The 26 bytes that the local and the central header share: version to the length of the extra field.
fn common(entry: &Entry, name: &[u8]) -> Vec<u8> {
    let crc = entry.crc.unwrap_or_else(|| crc32(&entry.data));
    let size = to_u32(entry.data.len());
    let mut out = vec![];
    out.extend(20_u16.to_le_bytes());
    out.extend(entry.flags.to_le_bytes());
    out.extend(0_u16.to_le_bytes()); // stored
    out.extend([0, 0, 0x21, 0x5c]); // 2026-01-01 00:00
    out.extend(crc.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(entry.size.unwrap_or(size).to_le_bytes());
    out.extend(u16::try_from(name.len()).expect("a short name").to_le_bytes());
    out.extend(0_u16.to_le_bytes());
    out
}

fn to_u32(length: usize) -> u32 {
    u32::try_from(length).expect("a small archive")
}

/// CRC-32 of ISO 3309, bit by bit: tests have little data.
fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}
