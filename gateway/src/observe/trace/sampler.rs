//! Which traces are kept: decided once, at the begin of a request, from what is known then. Pure.

use super::context::{TraceId, TraceParent};

/// How it is decided; the names are those of `OTEL_TRACES_SAMPLER`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampler {
    /// Whether a caller's decision stands.
    pub(crate) parent_based: bool,
    /// The share of the others that is kept: 0 none, 1 all.
    pub(crate) ratio: f64,
}

impl Default for Sampler {
    /// One trace in a hundred, unless its caller has decided. All of them, the default of the specification, would cost
    /// more than the calls themselves.
    fn default() -> Self {
        Self { parent_based: true, ratio: 0.01 }
    }
}

impl Sampler {
    /// Reads `OTEL_TRACES_SAMPLER`; `None` for a name that nobody knows. The second is whether it takes a ratio.
    pub(crate) fn named(name: &str) -> Option<(Self, bool)> {
        let (parent_based, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let (ratio, takes_ratio) = match root {
            "always_on" => (1.0, false),
            "always_off" => (0.0, false),
            "traceidratio" => (1.0, true),
            _ => return None,
        };
        Some((Self { parent_based, ratio }, takes_ratio))
    }

    /// Whether what the caller has decided stands; `None`: it is for us to decide.
    pub(crate) fn inherited(self, parent: Option<&TraceParent>) -> Option<bool> {
        parent.filter(|_| self.parent_based).map(|parent| parent.sampled)
    }

    /// Whether a trace is kept that begins here. Every host that keeps the same share keeps the same traces.
    pub(crate) fn keeps(self, trace: TraceId) -> bool {
        self.keeps_number(u128::from_be_bytes(trace.0) as u64)
    }

    /// The same by the last eight bytes of its id.
    pub(crate) fn keeps_number(self, number: u64) -> bool {
        // As the SDKs do it: 63 of the bits against the share of them.
        (number >> 1) < (self.ratio.clamp(0.0, 1.0) * (1u64 << 63) as f64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(sampled: bool) -> TraceParent {
        let flags = u8::from(sampled);
        TraceParent::read(format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0{flags}").as_bytes())
            .unwrap()
    }

    #[test]
    fn a_caller_decides_if_it_is_believed() {
        let (ours, _) = Sampler::named("parentbased_always_off").unwrap();
        assert_eq!(ours.inherited(Some(&parent(true))), Some(true));
        assert_eq!(ours.inherited(Some(&parent(false))), Some(false));
        assert_eq!(ours.inherited(None), None);
        let (alone, takes_ratio) = Sampler::named("traceidratio").unwrap();
        assert_eq!((alone.inherited(Some(&parent(true))), takes_ratio), (None, true));
        assert!(Sampler::named("jaeger_remote").is_none() && Sampler::named("").is_none());
    }

    #[test]
    fn a_share_is_kept_by_the_id_alone() {
        let of = |ratio| Sampler { parent_based: true, ratio };
        for number in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(of(1.0).keeps_number(number) && !of(0.0).keeps_number(number), "{number}");
        }
        let kept = (0..10_000u64).filter(|n| of(0.01).keeps_number(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        assert!((80..120).contains(&kept.count()));
        assert!(of(0.5).keeps(TraceId([0x10; 16])) && !of(0.5).keeps(TraceId([0xf0; 16])));
    }
}
