//! What is kept of one call, as bytes: pure, nothing here allocates or reads a clock.
//!
//! All integers little-endian, records begin at multiples of eight.
//!
//! | offset | type | field |
//! |---|---|---|
//! | 0 | u32 | `size`: bytes of the record, this header included; written last, and whoever sees it sees the rest |
//! | 4 | u32 | CRC-32 of everything behind it |
//! | 8 | u8 ×4 | kind, outcome (its place in the segment's list), surface, depth |
//! | 12 | u32 | most memory of the worker, KiB; 0: not told |
//! | 16 | u64 ×8 | time (µs since 1970), duration, worker, queue, CPU (µs), bytes in, bytes out, subject |
//! | 80 | u8 ×2, u16 ×3 | lengths: request id, version, agent, tenant, usage |
//! | 88 | bytes | those, in this order, and zeros up to the next multiple of eight |

use super::outcome::Outcome;

/// Bytes before the texts.
const FIXED: usize = 88;

/// Longest tenant that is kept as it is. Tokens may hold any; a longer one is cut by whoever makes records.
pub(super) const TENANT: usize = 1024;

/// Longest report of tokens: 64 models with a dozen counts each.
pub(super) const USAGE: usize = 32 * 1024;

/// Where a call came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    /// One result.
    Invoke,
    /// Item by item.
    Stream,
    /// A package's own HTTP.
    Rest,
    /// gRPC, of the package's own or an action.
    Grpc,
    /// Another agent.
    Call,
}

impl Surface {
    const ALL: [Self; 5] = [Self::Invoke, Self::Stream, Self::Rest, Self::Grpc, Self::Call];

    /// As people read it.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Stream => "stream",
            Self::Rest => "rest",
            Self::Grpc => "grpc",
            Self::Call => "call",
        }
    }
}

/// What one call was and has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage<'a> {
    /// Microseconds since 1970, at its end.
    pub(crate) time_us: u64,
    /// Where it came in.
    pub(crate) surface: Surface,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// How many calls it is nested in.
    pub(crate) depth: u8,
    /// The first 64 bits of the SHA-256 of who called; 0: nobody was proved to.
    pub(crate) subject: u64,
    /// From its arrival to its end.
    pub(crate) duration_us: u64,
    /// What the worker has taken, as it measured it; else what was left after the queue.
    pub(crate) worker_us: u64,
    /// Waiting for a worker.
    pub(crate) queue_us: u64,
    /// Processor time of the worker's thread; 0: not told.
    pub(crate) cpu_us: u64,
    /// The most memory that its worker had had by its end, KiB; 0: not told.
    pub(crate) peak_rss_kb: u32,
    /// Of the request's body.
    pub(crate) bytes_in: u64,
    /// Of the answer's body.
    pub(crate) bytes_out: u64,
    /// Its name; clients may use one twice.
    pub(crate) request_id: &'a str,
    /// On whose account.
    pub(crate) tenant: &'a str,
    /// `package/export`; `package` for its surfaces.
    pub(crate) agent: &'a str,
    /// Version of the package.
    pub(crate) version: &'a str,
    /// What the agent reported of models: the JSON array of `FRAMES.md`, or nothing.
    pub(crate) tokens: &'a [u8],
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// A call that has ended.
    Call(Usage<'a>),
    /// What was learned of a call when it had been recorded: its worker ended later than its caller waited.
    Amendment(Usage<'a>),
    /// Everything behind this belongs to later minutes, whatever its clock says.
    Seal {
        /// The last minute that is over, since 1970.
        minute: i64,
    },
}

/// Bytes that are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Nothing was written, or not to its end.
    Open,
    /// Something else than what was written.
    Damaged,
}

const CALL: u8 = 1;
const AMENDMENT: u8 = 2;
const SEAL: u8 = 3;

const NOTHING: Usage<'static> = Usage {
    time_us: 0,
    surface: Surface::Invoke,
    outcome: Outcome::OK,
    depth: 0,
    subject: 0,
    duration_us: 0,
    worker_us: 0,
    queue_us: 0,
    cpu_us: 0,
    peak_rss_kb: 0,
    bytes_in: 0,
    bytes_out: 0,
    request_id: "",
    tenant: "",
    agent: "",
    version: "",
    tokens: b"",
};

impl Usage<'_> {
    /// Nothing, to be filled in.
    pub(crate) const NOTHING: Usage<'static> = NOTHING;

    fn size(&self) -> usize {
        let texts = [self.request_id, self.version, self.agent, self.tenant].map(str::len);
        (FIXED + texts.iter().sum::<usize>() + self.tokens.len()).next_multiple_of(8)
    }
}

impl<'a> Record<'a> {
    /// Bytes that [`Self::encode`] needs.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Call(usage) | Self::Amendment(usage) => usage.size(),
            Self::Seal { .. } => FIXED,
        }
    }

    /// Writes the record behind its first four bytes, which are the size, and belong to whoever publishes it. `out` is
    /// four bytes shorter than [`Self::size`].
    pub(super) fn encode(&self, out: &mut [u8]) {
        let (kind, usage) = match self {
            Self::Call(usage) => (CALL, *usage),
            Self::Amendment(usage) => (AMENDMENT, *usage),
            Self::Seal { minute } => (SEAL, Usage { time_us: minute.cast_unsigned(), ..NOTHING }),
        };
        let mut pen = Pen { out, at: 4 };
        pen.put(&[kind, usage.outcome.number(), usage.surface as u8, usage.depth]);
        pen.put(&usage.peak_rss_kb.to_le_bytes());
        for number in [
            usage.time_us,
            usage.duration_us,
            usage.worker_us,
            usage.queue_us,
            usage.cpu_us,
            usage.bytes_in,
            usage.bytes_out,
            usage.subject,
        ] {
            pen.put(&number.to_le_bytes());
        }
        let lengths = [usage.agent.len(), usage.tenant.len(), usage.tokens.len()];
        pen.put(&[usage.request_id.len() as u8, usage.version.len() as u8]);
        for length in lengths {
            pen.put(&(length as u16).to_le_bytes());
        }
        for text in [usage.request_id, usage.version, usage.agent, usage.tenant] {
            pen.put(text.as_bytes());
        }
        pen.put(usage.tokens);
        let end = pen.at;
        let Some((sum, body)) = out.split_first_chunk_mut::<4>() else { return };
        body.get_mut(end - 4..).unwrap_or_default().fill(0);
        *sum = crc32fast::hash(body).to_le_bytes();
    }

    /// Reads the record at the begin of `bytes`, with its size.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<(Self, usize), Flaw> {
        let size = bytes.first_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize);
        if size == 0 {
            return Err(Flaw::Open);
        }
        let whole = bytes.get(..size).filter(|whole| whole.len() >= FIXED && size.is_multiple_of(8));
        let (sum, body) = whole.and_then(|whole| whole.get(4..)?.split_first_chunk()).ok_or(Flaw::Damaged)?;
        if u32::from_le_bytes(*sum) != crc32fast::hash(body) {
            return Err(Flaw::Damaged);
        }
        // What its sum vouches for was written by `encode`.
        Reader { bytes: body }.record().map(|record| (record, size)).ok_or(Flaw::Damaged)
    }
}

struct Pen<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Pen<'_> {
    fn put(&mut self, bytes: &[u8]) {
        if let Some(place) = self.out.get_mut(self.at..self.at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        self.at += bytes.len();
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn record(mut self) -> Option<Record<'a>> {
        let [kind, outcome, surface, depth] = *self.chunk()?;
        let peak_rss_kb = u32::from_le_bytes(*self.chunk()?);
        let [time_us, duration_us, worker_us, queue_us, cpu_us, bytes_in, bytes_out, subject] =
            self.numbers()?;
        let [request, version] = *self.chunk()?;
        let [agent, tenant, tokens] = [self.length()?, self.length()?, self.length()?];
        let usage = Usage {
            time_us,
            surface: *Surface::ALL.get(usize::from(surface))?,
            outcome: Outcome::from_number(outcome),
            depth,
            subject,
            duration_us,
            worker_us,
            queue_us,
            cpu_us,
            peak_rss_kb,
            bytes_in,
            bytes_out,
            request_id: self.text(usize::from(request))?,
            version: self.text(usize::from(version))?,
            agent: self.text(agent)?,
            tenant: self.text(tenant)?,
            tokens: self.take(tokens)?,
        };
        match kind {
            CALL => Some(Record::Call(usage)),
            AMENDMENT => Some(Record::Amendment(usage)),
            SEAL => Some(Record::Seal { minute: time_us.cast_signed() }),
            _ => None,
        }
    }

    fn chunk<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (chunk, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(chunk)
    }

    fn numbers<const N: usize>(&mut self) -> Option<[u64; N]> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = u64::from_le_bytes(*self.chunk()?);
        }
        Some(numbers)
    }

    fn length(&mut self) -> Option<usize> {
        self.chunk().map(|length| usize::from(u16::from_le_bytes(*length)))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }

    fn text(&mut self, length: usize) -> Option<&'a str> {
        std::str::from_utf8(self.take(length)?).ok()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As it stands in a segment.
    pub(in super::super) fn bytes(record: &Record<'_>) -> Vec<u8> {
        let mut bytes = vec![0xaa; record.size()];
        record.encode(&mut bytes[4..]);
        let size = u32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&size.to_le_bytes());
        bytes
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            numbers in proptest::array::uniform8(any::<u64>()),
            small in any::<(u8, u32)>(),
            request_id in "[A-Za-z0-9._-]{1,128}",
            (tenant, agent, version) in (".{0,200}", "[a-z/]{0,300}", "[0-9.]{0,60}"),
            tokens in proptest::collection::vec(any::<u8>(), 0..300),
            (outcome, surface) in (0..Outcome::COUNT, 0..Surface::ALL.len()),
        ) {
            let [time_us, duration_us, worker_us, queue_us, cpu_us, bytes_in, bytes_out, subject] = numbers;
            let usage = Usage {
                time_us, duration_us, worker_us, queue_us, cpu_us, bytes_in, bytes_out, subject,
                surface: Surface::ALL[surface],
                outcome: Outcome::from_number(outcome),
                depth: small.0,
                peak_rss_kb: small.1,
                request_id: &request_id, tenant: &tenant, agent: &agent, version: &version, tokens: &tokens,
            };
            for record in [Record::Call(usage), Record::Amendment(usage)] {
                let written = bytes(&record);
                prop_assert_eq!(Record::decode(&written), Ok((record, written.len())));
            }
        }

        #[test]
        fn one_wrong_bit_is_noticed(bit in 0_usize..1000, tenant in "[a-z]{1,40}") {
            let usage = Usage { request_id: "r-1", tenant: &tenant, agent: "a/b", version: "1", ..NOTHING };
            let mut written = bytes(&Record::Call(usage));
            let bit = bit % (written.len() * 8);
            written[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Record::decode(&written).is_err());
        }

        #[test]
        fn no_bytes_at_all_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _nothing_or_something = Record::decode(&bytes).is_ok();
        }
    }

    #[test]
    fn seals_keep_their_minute_and_what_is_not_finished_is_told_from_what_is_wrong() {
        let seal = Record::Seal { minute: 29_000_000 };
        let mut written = bytes(&seal);
        assert_eq!(Record::decode(&written), Ok((seal, written.len())));
        assert_eq!(Record::decode(&written[..40]), Err(Flaw::Damaged));
        written[..4].fill(0);
        assert_eq!(Record::decode(&written), Err(Flaw::Open));
        assert_eq!(Record::decode(b""), Err(Flaw::Open));
    }
}
