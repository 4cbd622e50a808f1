//! Whether what was appended reaches the disk. Pure: the outcome of each try enters, what has changed leaves. A disk that
//! fails does so at every try; it is told of once.

use std::io;

use super::journal::Turn;

/// What the last try has come to.
#[derive(Debug, Default)]
pub(super) struct Durability {
    fails: bool,
}

impl Durability {
    /// Takes what a try has come to.
    pub(super) fn after(&mut self, synced: io::Result<()>) -> Option<Turn> {
        let before = std::mem::replace(&mut self.fails, synced.is_err());
        match (before, synced) {
            (false, Err(error)) => Some(Turn::Unsynced(error)),
            (true, Ok(())) => Some(Turn::Synced),
            (true, Err(_)) | (false, Ok(())) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fails_is_told_of_when_it_begins_to_and_when_it_ends() {
        let mut durability = Durability::default();
        let mut told = |fails: bool| {
            let tried = if fails { Err(io::Error::other("of the device")) } else { Ok(()) };
            match durability.after(tried) {
                None => "",
                Some(Turn::Unsynced(_)) => "fails",
                Some(Turn::Synced) => "works",
                Some(Turn::Starved(_) | Turn::Recovered) => "something else",
            }
        };
        let tries = [false, false, true, true, true, false, false, true, false];
        assert_eq!(tries.map(&mut told), ["", "", "fails", "", "", "works", "", "fails", "works"]);
    }
}
