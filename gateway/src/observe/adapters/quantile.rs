//! Quantiles of counts by size, as Prometheus' `histogram_quantile` estimates them. Pure.

use super::series::Buckets;

/// The value below which this share of them lies, taken as spread evenly within each bucket; what lies beyond the last
/// bound is taken as that bound. `None` without values.
pub(super) fn quantile(buckets: &Buckets, share: f64) -> Option<f64> {
    if buckets.count == 0 {
        return None;
    }
    let wanted = share * buckets.count as f64;
    let (mut lower, mut below) = (0.0, 0);
    for (bound, up_to) in &buckets.up_to {
        if *up_to as f64 >= wanted && *up_to > below {
            return Some(lower + (bound - lower) * (wanted - below as f64) / (up_to - below) as f64);
        }
        (lower, below) = (*bound, *up_to);
    }
    Some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let buckets = Buckets { count: 10, sum: 0.0, up_to: vec![(1.0, 5), (2.0, 9), (4.0, 9)] };
        let of = |share| quantile(&buckets, share).unwrap();
        assert!((of(0.5) - 1.0).abs() < 1e-9);
        assert!((of(0.25) - 0.5).abs() < 1e-9);
        assert!((of(0.7) - 1.5).abs() < 1e-9);
        assert!((of(0.99) - 4.0).abs() < 1e-9, "beyond the last bound");
        assert_eq!(quantile(&Buckets::default(), 0.5), None);
    }
}
