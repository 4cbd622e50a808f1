//! What has become of an event whose answer never came, when its name may be forgotten. Pure.

/// What has become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is counted.
    Counted,
    /// It is not.
    Lost,
    /// Somebody has to look.
    Unclear,
}

/// By what was counted in its window, what is known to have been counted there, and its value.
pub(super) fn fate(counted: i64, known: i64, value: i64) -> Fate {
    if counted >= known + value {
        Fate::Counted
    } else if counted <= known {
        Fate::Lost
    } else {
        Fate::Unclear
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told_from_what_was_lost() {
        for (counted, known, value, told) in [
            (0, 0, 5, Fate::Lost),
            (5, 0, 5, Fate::Counted),
            (12, 7, 5, Fate::Counted),
            (7, 7, 5, Fate::Lost),
            (9, 7, 5, Fate::Unclear),
            (6, 7, 5, Fate::Lost),
        ] {
            assert_eq!(fate(counted, known, value), told, "{counted} {known} {value}");
        }
    }
}
