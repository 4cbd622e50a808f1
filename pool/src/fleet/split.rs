//! Versions of one agent, or of one package, that share its calls by weight.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

/// The part of the circle by which the point moves with each call: the golden ratio spreads any number of successive
/// points evenly, so shares are kept over tens of calls and not only over thousands.
const STEP: u32 = 0x9E37_79B9;

/// Versions with their shares.
#[derive(Debug)]
pub(crate) struct Split<T> {
    first: Arc<T>,
    /// Upper ends on a circle of 2^32.
    ends: Box<[(u32, Arc<T>)]>,
    point: AtomicU32,
}

impl<T> Split<T> {
    /// `None` if fewer than two have a share.
    pub(crate) fn of(sharing: Vec<(u32, Arc<T>)>) -> Option<Self> {
        if sharing.len() < 2 {
            return None;
        }
        let first = Arc::clone(&sharing.first()?.1);
        let weights: Vec<u32> = sharing.iter().map(|(weight, _)| *weight).collect();
        let ends =
            ends(&weights).into_iter().zip(sharing).map(|(end, (_, version))| (end, version)).collect();
        Some(Self { first, ends, point: AtomicU32::new(0) })
    }

    /// The one that people are told about.
    pub(crate) fn first(&self) -> &Arc<T> {
        &self.first
    }

    /// The one that answers a call.
    pub(crate) fn pick(&self, session: Option<&[u8]>) -> &Arc<T> {
        let point = match session {
            Some(session) => {
                let mut hasher = DefaultHasher::new();
                session.hash(&mut hasher);
                (hasher.finish() >> 32) as u32
            }
            None => self.point.fetch_add(STEP, Ordering::Relaxed),
        };
        self.ends.iter().find(|(end, _)| point <= *end).map_or(&self.first, |(_, version)| version)
    }
}

/// Upper ends of consecutive arcs of a circle of 2^32 whose lengths are as the weights.
fn ends(weights: &[u32]) -> Vec<u32> {
    let all: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let mut sum = 0;
    weights
        .iter()
        .map(|weight| {
            sum += u64::from(*weight);
            u32::try_from((sum << 32) / all.max(1)).unwrap_or(u32::MAX)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_over_a_hundred_calls() {
        for weights in [vec![10, 90], vec![1, 1], vec![5, 15, 80]] {
            let ends = ends(&weights);
            assert_eq!(ends.last(), Some(&u32::MAX));
            let all: u32 = weights.iter().sum();
            let mut counts = vec![0_u32; weights.len()];
            let mut point = 0_u32;
            for _ in 0..100 {
                counts[ends.iter().position(|end| point <= *end).unwrap()] += 1;
                point = point.wrapping_add(STEP);
            }
            for (count, weight) in counts.iter().zip(&weights) {
                assert!(count.abs_diff(weight * 100 / all) <= 2, "{weights:?}: {counts:?}");
            }
        }
    }
}
