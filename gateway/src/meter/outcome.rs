//! How a call ended, as records hold it: a number, and in each segment the list of what the numbers mean.

use par_proto::code::Code;

/// `ok`, or a [`Code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Outcome(u8);

impl Outcome {
    /// With a result.
    pub(crate) const OK: Self = Self(0);

    /// How many there are.
    #[cfg(test)]
    pub(super) const COUNT: u8 = Code::ALL.len() as u8 + 1;

    /// Of a call that ended with this code, or with none.
    pub(crate) fn of(code: Option<Code>) -> Self {
        // The enum has no fields: its number is its place in `Code::ALL`.
        code.map_or(Self::OK, |code| Self(code as u8 + 1))
    }

    pub(super) const fn from_number(number: u8) -> Self {
        Self(number)
    }

    pub(super) const fn number(self) -> u8 {
        self.0
    }

    /// The texts of all, in the order of their numbers.
    pub(super) fn names() -> Vec<Box<str>> {
        std::iter::once("ok").chain(Code::ALL.iter().map(|code| code.text())).map(Box::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_name_at_its_number() {
        let names = Outcome::names();
        assert_eq!(&*names[usize::from(Outcome::OK.number())], "ok");
        for code in Code::ALL {
            assert_eq!(&*names[usize::from(Outcome::of(Some(*code)).number())], code.text());
        }
        assert_eq!(names.len(), usize::from(Outcome::COUNT));
    }
}
