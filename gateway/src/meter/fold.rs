//! From the segments into the ledger: a thread of little importance that adds what was recorded, once each.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Instant, SystemTime},
};

use super::{
    clock::{Clock, Slip},
    journal::{Journal, Standing},
    ledger::{Ledger, LedgerError, Position},
    outcome::Outcome,
    record::Record,
    scan::{Found, Scan},
    segment::{self, HEAD},
    tally::Tally,
};

/// Records of one transaction. Ten times as many would hold the file, and memory, for a second and more.
const BATCH: u64 = 100_000;

/// What was found to be wrong with a segment.
#[derive(Debug)]
pub(super) enum Damage {
    /// Bytes that were written once are no record any more.
    Lost {
        /// The segment.
        segment: u64,
        /// Where they begin.
        at: usize,
        /// How many.
        bytes: usize,
    },
    /// A record that its process did not finish: nobody was told of that call's end.
    Unfinished {
        /// The segment.
        segment: u64,
        /// Bytes of it.
        bytes: usize,
    },
    /// The whole segment cannot be read.
    Unreadable {
        /// The segment.
        segment: u64,
        /// Why not.
        cause: io::Error,
    },
}

/// What the world is told.
#[derive(Debug)]
pub(super) enum Told {
    /// Of a segment.
    Damage(Damage),
    /// Tokens of an agent were added.
    Tokens {
        /// `package/export`.
        agent: Box<str>,
        /// Read by models.
        input: u64,
        /// Written by them.
        output: u64,
    },
    /// The ledger was built again; where the damaged one is.
    Rebuilt {
        /// What was wrong.
        cause: String,
        /// Where it is now.
        aside: PathBuf,
    },
    /// The clock of the day has jumped.
    Slip(Slip),
}

/// Adds records.
pub(super) struct Fold<T> {
    folder: PathBuf,
    journal: Arc<Journal>,
    ledger: Option<Ledger>,
    clock: Clock,
    begin: Instant,
    position: Position,
    sealed: Option<i64>,
    newest: Option<i64>,
    tell: T,
}

impl<T: Fn(Told)> Fold<T> {
    /// Nothing is opened yet.
    pub(super) fn new(folder: PathBuf, journal: Arc<Journal>, tell: T) -> Self {
        Self {
            folder,
            journal,
            ledger: None,
            clock: Clock::default(),
            begin: Instant::now(),
            position: Position::default(),
            sealed: None,
            newest: None,
            tell,
        }
    }

    /// Seals the minutes that are over and adds what was recorded until now. A damaged ledger is set aside and built
    /// again from the segments that are left. After an error the next round begins where this one did.
    pub(super) fn round(&mut self) -> Result<(), LedgerError> {
        match self.fold() {
            Err(LedgerError::Damaged(cause)) => {
                self.rebuild(cause)?;
                self.fold()
            }
            folded => folded,
        }
    }

    /// Up to where records were added.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// The ledger, if it is open.
    pub(super) fn ledger(&mut self) -> Option<&mut Ledger> {
        self.ledger.as_mut()
    }

    /// The last minute that is over.
    pub(super) fn sealed(&self) -> Option<i64> {
        self.sealed
    }

    fn fold(&mut self) -> Result<(), LedgerError> {
        if self.ledger.is_none() {
            let ledger = Ledger::open(&self.folder)?;
            ledger.check()?;
            self.enter(ledger)?;
        }
        self.seal();
        loop {
            let (tally, position) = self.gather().map_err(|source| LedgerError::Io("segments", source))?;
            let Some(ledger) = &mut self.ledger else { return Ok(()) };
            if !tally.is_empty() {
                let added = ledger.add(&tally, position);
                if added.is_err() {
                    // Whatever it is, what was open is asked anew.
                    self.ledger = None;
                }
                added?;
                for (key, tokens) in &tally.tokens {
                    let (agent, input, output) = (key.agent.clone(), tokens.input, tokens.output);
                    let [input, output] = [input, output].map(i64::cast_unsigned);
                    (self.tell)(Told::Tokens { agent, input, output });
                }
            }
            (self.position, self.sealed, self.newest) = (position, tally.sealed, tally.newest);
            if tally.records < BATCH {
                return Ok(());
            }
        }
    }

    fn enter(&mut self, ledger: Ledger) -> Result<(), LedgerError> {
        self.position = ledger.position()?;
        self.sealed = ledger.sealed()?.through;
        self.newest = ledger.newest()?;
        self.ledger = Some(ledger);
        Ok(())
    }

    /// Says in the log which minutes are over, so that whoever reads it anew finds every record in the same minute.
    fn seal(&mut self) {
        let day = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (over, slip) = self.clock.over(self.begin.elapsed(), day);
        if let Some(slip) = slip {
            (self.tell)(Told::Slip(slip));
        }
        // Without room there is nothing new to seal either.
        let is_wanted = self.newest > self.sealed || self.journal.is_more_wanted(self.sealed);
        if is_wanted && Some(over) > self.sealed && self.journal.has_room() {
            self.journal.append(&Record::Seal { minute: over });
        }
    }

    /// What was recorded behind the position, at most about a batch, and where it ends.
    fn gather(&self) -> io::Result<(Tally, Position)> {
        let mut tally = Tally::after(self.sealed, self.newest);
        let mut at = self.position;
        let numbers = segment::numbers(&self.folder)?;
        while tally.records < BATCH {
            match self.journal.standing(at.segment) {
                Standing::Coming => break,
                Standing::Live(live) => {
                    let (bytes, is_over) = live.published(at.offset as usize);
                    let names = Outcome::names();
                    for found in Scan::new(&bytes, 0) {
                        // What was published without a gap has none.
                        if let Found::Record { record, .. } = found {
                            tally.add(&record, &names);
                        }
                    }
                    at.offset += bytes.len() as u64;
                    if !is_over {
                        break;
                    }
                }
                Standing::File => at.offset = self.read(at, &mut tally)?,
            }
            let Some(next) = numbers.iter().find(|number| **number > at.segment) else { break };
            at = Position { segment: *next, offset: HEAD as u64 };
        }
        Ok((tally, at))
    }

    /// Adds the records of a file that nobody appends to; gives the place behind the last one.
    fn read(&self, at: Position, tally: &mut Tally) -> io::Result<u64> {
        if at.segment == 0 {
            return Ok(0);
        }
        let offset = at.offset as usize;
        let (bytes, names) = match segment::read(&self.folder, at.segment, offset) {
            Ok(read) => read,
            Err(cause) if is_gone_or_garbled(&cause) => {
                (self.tell)(Told::Damage(Damage::Unreadable { segment: at.segment, cause }));
                return Ok(at.offset);
            }
            Err(error) => return Err(error),
        };
        let mut last = 0;
        for found in Scan::new(&bytes, 0) {
            match found {
                Found::Record { record, end } => {
                    tally.add(&record, &names);
                    last = end;
                }
                Found::Gap { from, to, damaged } => {
                    let (segment, bytes) = (at.segment, to - from);
                    let damage = if damaged {
                        Damage::Lost { segment, at: offset + from, bytes }
                    } else {
                        Damage::Unfinished { segment, bytes }
                    };
                    (self.tell)(Told::Damage(damage));
                }
            }
        }
        if last < bytes.len() {
            // The room that was left over, and a tail that is none.
            // Room that cannot be given back is wasted, and nothing else.
            segment::trim(&self.folder, at.segment, offset + last).ok();
        }
        Ok((offset + last) as u64)
    }

    /// Builds a ledger from the segments that are left, under its old name.
    fn rebuild(&mut self, cause: String) -> Result<(), LedgerError> {
        self.ledger = None;
        let aside = Ledger::set_aside(&self.folder)?;
        let mut ledger = Ledger::open(&self.folder)?;
        if let Some(minute) =
            self.first_whole_minute().map_err(|source| LedgerError::Io("segments", source))?
        {
            ledger.complete_from(minute)?;
        }
        (self.tell)(Told::Rebuilt { cause, aside });
        self.enter(ledger)
    }

    /// The first minute of which no record can be missing; `None`: nothing was ever deleted.
    fn first_whole_minute(&self) -> io::Result<Option<i64>> {
        let numbers = segment::numbers(&self.folder)?;
        if numbers.first() == Some(&1) {
            return Ok(None);
        }
        let mut tally = Tally::default();
        for number in numbers {
            let bytes = match self.journal.standing(number) {
                Standing::Live(live) => live.published(HEAD).0,
                Standing::Coming => break,
                Standing::File => match segment::read(&self.folder, number, HEAD) {
                    Ok((bytes, _)) => bytes,
                    Err(error) if is_gone_or_garbled(&error) => continue,
                    Err(error) => return Err(error),
                },
            };
            for found in Scan::new(&bytes, 0) {
                if let Found::Record { record, .. } = found {
                    tally.add(&record, &[]);
                    if let Some(sealed) = tally.sealed {
                        return Ok(Some(sealed + 1));
                    }
                }
            }
        }
        Ok(Some(tally.newest.map_or(0, |newest| newest + 1)))
    }
}

/// Somebody has deleted it, or it is none.
fn is_gone_or_garbled(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    matches!(error.kind(), NotFound | InvalidData | UnexpectedEof)
}

#[cfg(test)]
mod tests;
