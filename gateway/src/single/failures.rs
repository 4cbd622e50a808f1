//! Boots that fail again and again: how many there were in a row, and how long to wait before the next end, so that
//! whoever starts the container again does not do it in a hot loop.

use std::{fs, io, path::PathBuf, time::Duration};

/// Longest wait before the end. Whoever repairs the cause should not wait much longer for the next start; half of it
/// would still be a start a minute with the time that a boot takes.
const LONGEST: Duration = Duration::from_secs(60);

/// Failed boots in a row, counted in a file of the data directory and by somebody outside, if a container loses its disk.
#[derive(Debug, Clone)]
pub(crate) struct FailedBoots {
    file: PathBuf,
    outside: u32,
}

impl FailedBoots {
    /// Of a data directory; `outside` is what somebody else has counted.
    pub(crate) fn new(data_dir: &std::path::Path, outside: u32) -> Self {
        Self { file: data_dir.join("failed-boots"), outside }
    }

    /// How many there were. A file that cannot be read counts as none: it must not stop a boot.
    pub(crate) fn earlier(&self) -> u32 {
        let kept = fs::read_to_string(&self.file).ok().and_then(|text| text.trim().parse().ok());
        kept.unwrap_or(0).max(self.outside)
    }

    /// Counts one more and tells how long to wait before the end.
    pub(crate) fn count(&self) -> Duration {
        let earlier = self.earlier();
        if let Err(error) = fs::write(&self.file, format!("{}\n", earlier.saturating_add(1))) {
            tracing::warn!(event = "failed_boots_unsaved", %error, "this failed boot is not counted");
        }
        wait(earlier)
    }

    /// This boot became ready.
    ///
    /// # Errors
    /// If the file cannot be removed: the next failure would wait too long.
    pub(crate) fn forget(&self) -> io::Result<()> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Nothing after the first failure, then a second, doubled with each further one.
fn wait(earlier: u32) -> Duration {
    match earlier.checked_sub(1) {
        None => Duration::ZERO,
        Some(more) => Duration::from_secs(1).saturating_mul(1 << more.min(16)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_ends_at_once_and_later_ones_wait_longer_and_longer() {
        let seconds: Vec<_> = (0..9).map(|earlier| wait(earlier).as_secs()).collect();
        assert_eq!(seconds, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(wait(u32::MAX), LONGEST);
    }

    #[test]
    fn failures_are_counted_over_restarts_until_a_boot_is_ready() {
        let directory = tempfile::tempdir().unwrap();
        let boots = |outside| FailedBoots::new(directory.path(), outside);
        for seconds in [0, 1, 2] {
            assert_eq!(boots(0).count().as_secs(), seconds);
        }
        boots(0).forget().unwrap();
        boots(0).forget().unwrap();
        assert_eq!(boots(0).earlier(), 0);
    }

    #[test]
    fn the_larger_count_is_taken_and_a_broken_file_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let boots = |outside| FailedBoots::new(directory.path(), outside);
        assert_eq!(boots(3).count().as_secs(), 4);
        assert_eq!((boots(1).earlier(), boots(9).earlier()), (4, 9));
        fs::write(directory.path().join("failed-boots"), "many").unwrap();
        assert_eq!(boots(0).earlier(), 0);
    }
}
