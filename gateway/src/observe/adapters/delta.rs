//! What has been added since the last round: receivers of StatsD add up themselves. Pure.

use std::collections::HashMap;

use super::series::{Buckets, Point};

/// What every series was when it was told last.
#[derive(Debug, Default)]
pub(super) struct Last(HashMap<String, Point>);

impl Last {
    /// The difference to the last round, of what grows; gauges are as they are. Keeps the new state in `next`. A series
    /// that has become smaller was forgotten and began anew.
    pub(super) fn since(&mut self, next: &mut Self, key: &str, now: &Point) -> Point {
        let before = self.0.remove(key);
        next.0.insert(key.to_owned(), now.clone());
        match (now, before) {
            (Point::Counter(now), Some(Point::Counter(before))) if *now >= before => {
                Point::Counter(now - before)
            }
            (Point::Histogram(now), Some(Point::Histogram(before)))
                if now.count >= before.count && now.up_to.len() == before.up_to.len() =>
            {
                Point::Histogram(less(now, &before))
            }
            (now, _) => now.clone(),
        }
    }
}

fn less(now: &Buckets, before: &Buckets) -> Buckets {
    let up_to = now.up_to.iter().zip(&before.up_to);
    Buckets {
        count: now.count - before.count,
        // Sums of floats may come out a little smaller than they were.
        sum: (now.sum - before.sum).max(0.0),
        up_to: up_to.map(|((bound, now), (_, before))| (*bound, now.saturating_sub(*before))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_told_as_what_was_added_and_what_began_anew_whole() {
        let mut last = Last::default();
        let mut round = |point: Point| {
            let mut next = Last::default();
            let told = last.since(&mut next, "a", &point);
            last = next;
            told
        };
        assert_eq!(round(Point::Counter(3.0)), Point::Counter(3.0));
        assert_eq!(round(Point::Counter(5.0)), Point::Counter(2.0));
        assert_eq!(round(Point::Counter(1.0)), Point::Counter(1.0));
        assert_eq!(round(Point::Gauge(-7.0)), Point::Gauge(-7.0));
        let buckets = |count, sum, up_to: &[(f64, u64)]| {
            Point::Histogram(Buckets { count, sum, up_to: up_to.to_vec() })
        };
        assert_eq!(round(buckets(2, 3.0, &[(1.0, 1)])), buckets(2, 3.0, &[(1.0, 1)]));
        assert_eq!(round(buckets(5, 9.0, &[(1.0, 2)])), buckets(3, 6.0, &[(1.0, 1)]));
        assert_eq!(round(buckets(1, 1.0, &[(1.0, 1)])), buckets(1, 1.0, &[(1.0, 1)]));
    }

    #[test]
    fn what_is_gone_is_not_kept() {
        let (mut last, mut next) = (Last::default(), Last::default());
        last.since(&mut next, "a", &Point::Counter(1.0));
        let (mut last, mut next) = (next, Last::default());
        last.since(&mut next, "b", &Point::Counter(1.0));
        assert!(next.0.contains_key("b") && next.0.len() == 1);
    }
}
