//! Sums of many records: pure. What enters is in the order of the log, and so is what the minutes become.

use std::collections::HashMap;

use serde::Deserialize;

use super::record::{Record, Usage};

/// Most of one count of one call: beyond it an agent is telling stories, and sums of such numbers would not fit.
const MOST: u64 = 1 << 40;

/// Microseconds of a minute.
const MINUTE: u64 = 60_000_000;

/// Whose sums, and of which minute.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Since 1970.
    pub(crate) minute: i64,
    /// On whose account.
    pub(crate) tenant: Box<str>,
    /// `package/export`, or `package`.
    pub(crate) agent: Box<str>,
    /// Version of the package.
    pub(crate) version: Box<str>,
    /// `ok`, or a code; of tokens by model: the model.
    pub(crate) last: Box<str>,
}

/// What calls have taken together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// How many.
    pub(crate) requests: i64,
    /// Of all models.
    pub(crate) input_tokens: i64,
    /// Of all models.
    pub(crate) output_tokens: i64,
    /// From arrival to end.
    pub(crate) duration_us: i64,
    /// In workers.
    pub(crate) worker_us: i64,
    /// Waiting for them.
    pub(crate) queue_us: i64,
    /// Processor time.
    pub(crate) cpu_us: i64,
    /// The most of any worker.
    pub(crate) peak_rss_kb: i64,
    /// Of requests.
    pub(crate) bytes_in: i64,
    /// Of answers.
    pub(crate) bytes_out: i64,
}

/// Tokens of one model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    /// In.
    pub(crate) input: i64,
    /// Out.
    pub(crate) output: i64,
    /// Those of `input` that came from a cache.
    pub(crate) cached_input: i64,
    /// Beside `input`: read from a cache.
    pub(crate) cache_read: i64,
    /// Beside `input`: written to a cache.
    pub(crate) cache_creation: i64,
}

/// Records that were added up.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By outcome, each key once.
    pub(crate) usage: Vec<(Key, Sums)>,
    /// Where a key stands in there. Looked up by bytes, so that a record whose key is known allocates nothing.
    places: HashMap<Box<[u8]>, usize>,
    scratch: Vec<u8>,
    /// By model.
    pub(crate) tokens: HashMap<Key, Tokens>,
    /// The last minute that is over; nothing is added to it any more.
    pub(crate) sealed: Option<i64>,
    /// The latest minute that something was added to.
    pub(crate) newest: Option<i64>,
    /// Records so far.
    pub(crate) records: u64,
}

/// What an agent reports of one model, as `FRAMES.md` has it.
#[derive(Debug, Deserialize)]
struct Told<'a> {
    #[serde(default, borrow)]
    model: std::borrow::Cow<'a, str>,
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
    #[serde(default)]
    cached_input_tokens: u64,
    #[serde(default)]
    cache_read_input_tokens: u64,
    #[serde(default)]
    cache_creation_input_tokens: u64,
}

fn count(number: u64) -> i64 {
    number.min(MOST).cast_signed()
}

impl Sums {
    /// Adds what others have taken.
    pub(crate) fn add(&mut self, more: &Self) {
        self.requests += more.requests;
        self.input_tokens += more.input_tokens;
        self.output_tokens += more.output_tokens;
        self.duration_us += more.duration_us;
        self.worker_us += more.worker_us;
        self.queue_us += more.queue_us;
        self.cpu_us += more.cpu_us;
        self.peak_rss_kb = self.peak_rss_kb.max(more.peak_rss_kb);
        self.bytes_in += more.bytes_in;
        self.bytes_out += more.bytes_out;
    }
}

impl Tally {
    /// Goes on behind a minute that is over, and where something was added last.
    pub(crate) fn after(sealed: Option<i64>, newest: Option<i64>) -> Self {
        Self { sealed, newest, ..Self::default() }
    }

    /// Adds a record; `names` say what its outcome is.
    pub(crate) fn add(&mut self, record: &Record<'_>, names: &[Box<str>]) {
        self.records += 1;
        match record {
            Record::Call(usage) => self.charge(usage, 1, names),
            Record::Amendment(usage) => self.charge(usage, 0, names),
            Record::Seal { minute } => self.sealed = self.sealed.max(Some(*minute)),
        }
    }

    fn charge(&mut self, usage: &Usage<'_>, requests: i64, names: &[Box<str>]) {
        // A minute that is over stays as it is, whatever the clock has done since.
        let minute = (usage.time_us / MINUTE).cast_signed().max(self.sealed.map_or(0, |sealed| sealed + 1));
        self.newest = self.newest.max(Some(minute));
        let outcome = names.get(usize::from(usage.outcome.number())).map_or("unknown", |name| name);
        let key = |last: &str| Key {
            minute,
            tenant: usage.tenant.into(),
            agent: usage.agent.into(),
            version: usage.version.into(),
            last: last.into(),
        };
        let mut sums = Sums {
            requests,
            duration_us: count(usage.duration_us),
            worker_us: count(usage.worker_us),
            queue_us: count(usage.queue_us),
            cpu_us: count(usage.cpu_us),
            peak_rss_kb: i64::from(usage.peak_rss_kb),
            bytes_in: count(usage.bytes_in),
            bytes_out: count(usage.bytes_out),
            ..Sums::default()
        };
        if !usage.tokens.is_empty() {
            // What cannot be read is none: it comes from the agent's own code.
            let told: Vec<Told<'_>> = serde_json::from_slice(usage.tokens).unwrap_or_default();
            for told in told {
                sums.input_tokens += count(told.input_tokens);
                sums.output_tokens += count(told.output_tokens);
                let model = self.tokens.entry(key(&told.model)).or_default();
                model.input += count(told.input_tokens);
                model.output += count(told.output_tokens);
                model.cached_input += count(told.cached_input_tokens);
                model.cache_read += count(told.cache_read_input_tokens);
                model.cache_creation += count(told.cache_creation_input_tokens);
            }
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(&minute.to_le_bytes());
        for text in [usage.tenant, usage.agent, usage.version, outcome] {
            self.scratch.extend_from_slice(&(text.len() as u32).to_le_bytes());
            self.scratch.extend_from_slice(text.as_bytes());
        }
        let known = self.places.get(&*self.scratch).and_then(|place| self.usage.get_mut(*place));
        if let Some((_, known)) = known {
            known.add(&sums);
        } else {
            self.places.insert(self.scratch.as_slice().into(), self.usage.len());
            self.usage.push((key(outcome), sums));
        }
    }

    /// Nothing that would have to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{super::outcome::Outcome, *};

    fn usage(minute: u64, tenant: &str) -> Usage<'_> {
        Usage {
            time_us: minute * MINUTE + 5,
            tenant,
            agent: "a/b",
            version: "1",
            cpu_us: 3,
            ..Usage::NOTHING
        }
    }

    fn minutes(tally: &Tally) -> Vec<(i64, i64)> {
        let mut minutes: Vec<_> = tally.usage.iter().map(|(key, sums)| (key.minute, sums.requests)).collect();
        minutes.sort_unstable();
        minutes
    }

    #[test]
    fn a_minute_that_is_over_stays_as_it_is_when_the_clock_goes_back() {
        let mut tally = Tally::after(Some(10), None);
        let names = Outcome::names();
        tally.add(&Record::Call(usage(11, "t")), &names);
        tally.add(&Record::Seal { minute: 11 }, &names);
        tally.add(&Record::Call(usage(5, "t")), &names);
        tally.add(&Record::Call(usage(11, "t")), &names);
        // A clock that was far ahead, and what came when it was right again.
        tally.add(&Record::Call(usage(900, "t")), &names);
        tally.add(&Record::Seal { minute: 3 }, &names);
        tally.add(&Record::Call(usage(13, "t")), &names);
        assert_eq!(minutes(&tally), [(11, 1), (12, 2), (13, 1), (900, 1)]);
        assert_eq!((tally.sealed, tally.newest, tally.records), (Some(11), Some(900), 7));
    }

    #[test]
    fn amendments_add_what_was_taken_and_no_call() {
        let mut tally = Tally::default();
        let names = Outcome::names();
        let tokens = br#"[{"model":"m","input_tokens":7,"output_tokens":2,"cache_read_input_tokens":5}]"#;
        tally.add(&Record::Call(usage(1, "t")), &names);
        tally.add(&Record::Amendment(Usage { tokens, ..usage(1, "t") }), &names);
        let sums = tally.usage[0].1;
        assert_eq!((sums.requests, sums.cpu_us, sums.input_tokens, sums.output_tokens), (1, 6, 7, 2));
        let (key, model) = tally.tokens.iter().next().unwrap();
        assert_eq!(
            (&*key.last, *model),
            ("m", Tokens { input: 7, output: 2, cache_read: 5, ..Tokens::default() })
        );
    }

    #[test]
    fn what_an_agent_makes_up_neither_overflows_nor_stops_anything() {
        let mut tally = Tally::default();
        for tokens in [
            &br#"[{"model":"m","input_tokens":18446744073709551615}]"#[..],
            b"[{\"model\":5}]",
            b"no JSON",
            br#"[{"model":"\u00e4","output_tokens":1}]"#,
        ] {
            let spent = Usage { tokens, duration_us: u64::MAX, bytes_out: u64::MAX, ..usage(1, "t") };
            tally.add(&Record::Call(spent), &Outcome::names());
        }
        let sums = tally.usage[0].1;
        assert_eq!((sums.requests, sums.input_tokens, sums.output_tokens), (4, 1 << 40, 1));
        assert!(tally.tokens.keys().any(|key| &*key.last == "ä"));
    }
}
