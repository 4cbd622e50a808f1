//! Bytes of a segment in, records and damage out: pure.

use super::record::{Flaw, Record};

/// Stands in the place of a size where a segment has no room for the next record.
pub(super) const END: u32 = u32::MAX;

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A record, and where the next one begins.
    Record {
        /// The record.
        record: Record<'a>,
        /// Where it ends.
        end: usize,
    },
    /// Bytes that are none: a process ended while it wrote, or the disk has lost something.
    Gap {
        /// Where they begin.
        from: usize,
        /// Where they end.
        to: usize,
        /// Whether what stands there was once complete: then something was lost that somebody may have been told of.
        damaged: bool,
    },
}

/// Reads records one by one. What is no record is stepped over to the next one: several threads write, and one may have
/// finished its record behind one that was never finished.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// From a place that is a multiple of eight.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    fn rest(&self, at: usize) -> &'a [u8] {
        self.bytes.get(at..).unwrap_or_default()
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let from = self.at;
        let mut damaged = false;
        loop {
            let rest = self.rest(self.at);
            let size = rest.first_chunk().map(|size| u32::from_le_bytes(*size));
            if size.is_none() || (size == Some(END) && self.at == from) {
                break;
            }
            match Record::decode(rest) {
                Ok((record, size)) if self.at == from => {
                    self.at += size;
                    return Some(Found::Record { record, end: self.at });
                }
                Ok(_) => return Some(Found::Gap { from, to: self.at, damaged }),
                // The room that is left over is zeros to its end.
                Err(Flaw::Open) if self.at == from && rest.iter().all(|byte| *byte == 0) => break,
                Err(flaw) => {
                    damaged |= self.at == from && flaw == Flaw::Damaged;
                    self.at += 8;
                }
            }
        }
        let tail = self.bytes.get(from..self.at.min(self.bytes.len())).unwrap_or_default();
        let used = tail.iter().rposition(|byte| *byte != 0).map(|last| from + last + 1);
        self.at = self.bytes.len();
        used.map(|to| Found::Gap { from, to, damaged })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::record::{Usage, tests::bytes},
        *,
    };

    fn call(id: &str) -> Vec<u8> {
        bytes(&Record::Call(Usage { request_id: id, tenant: "t", agent: "a/b", ..Usage::NOTHING }))
    }

    fn ids(segment: &[u8]) -> Vec<&str> {
        let found = Scan::new(segment, 0).filter_map(|found| match found {
            Found::Record { record: Record::Call(usage), .. } => Some(usage.request_id),
            Found::Record { .. } | Found::Gap { .. } => None,
        });
        found.collect()
    }

    fn gaps(segment: &[u8]) -> Vec<(usize, bool)> {
        let found = Scan::new(segment, 0).filter_map(|found| match found {
            Found::Gap { from, damaged, .. } => Some((from, damaged)),
            Found::Record { .. } => None,
        });
        found.collect()
    }

    #[test]
    fn a_record_that_was_never_finished_hides_none_behind_it() {
        let mut unfinished = call("two");
        unfinished[..4].fill(0);
        let segment = [call("one"), unfinished, call("three"), vec![0; 4096]].concat();
        assert_eq!(ids(&segment), ["one", "three"]);
        assert_eq!(gaps(&segment), [(call("one").len(), false)]);
        let nothing = [call("one"), vec![0; 160], call("three"), vec![0; 64]].concat();
        assert_eq!((ids(&nothing), gaps(&nothing).len()), (vec!["one", "three"], 1));
    }

    #[test]
    fn damage_is_told_and_the_rest_is_read() {
        let mut broken = call("two");
        broken[90] ^= 1;
        let segment = [call("one"), broken, call("three"), END.to_le_bytes().to_vec(), vec![7; 60]].concat();
        assert_eq!(ids(&segment), ["one", "three"]);
        assert_eq!(gaps(&segment), [(call("one").len(), true)]);
    }

    proptest! {
        #[test]
        fn a_tail_that_is_cut_anywhere_costs_only_the_record_that_it_cuts(count in 1_usize..6, cut in 0_usize..2000) {
            let all: Vec<Vec<u8>> = (0..count).map(|n| call(&format!("r{n}"))).collect();
            let mut segment = all.concat();
            let cut = cut % (segment.len() + 1);
            segment.truncate(cut);
            let whole = cut / all[0].len();
            prop_assert_eq!(ids(&segment).len(), whole);
            segment.resize(cut + 512, 0);
            // A record ends with zeros: one that has lost only those has lost nothing.
            let is_padding = cut % all[0].len() >= all[0].len() - 2;
            prop_assert_eq!(ids(&segment).len(), whole + usize::from(is_padding));
        }

        #[test]
        fn whatever_stands_between_two_records_both_are_read(noise in proptest::collection::vec(any::<u8>(), 0..50)) {
            // A size that reaches over the next record would be believed only with the right sum.
            let mut noise: Vec<u8> = noise.iter().flat_map(|byte| [*byte; 8]).collect();
            if noise.first_chunk() == Some(&END.to_le_bytes()) {
                noise[0] = 0;
            }
            let segment = [call("one"), noise, call("two")].concat();
            prop_assert_eq!(ids(&segment), ["one", "two"]);
        }
    }
}
