//! JSON Schemas of agents: what the manifest writes enters, what a text is checked against leaves, or why it is none.
//!
//! The language is JSON Schema 2020-12; a `$schema` may ask for 2019-09 or draft 7. A schema stands for itself: a
//! `$ref` is a place or an anchor in the same document (`#…`), everything else is refused and nothing is ever fetched.
//! Patterns are matched in linear time, so they have neither look-around nor back-references. Asserted formats:
//! `date`, `time`, `date-time`, `duration`, `email`, `hostname`, `ipv4`, `ipv6`, `uri`, `uri-reference`, `uuid`,
//! `json-pointer`; other formats say something about a value and check nothing.
//!
//! A schema comes from a package and a text from anybody, so both are bounded. What can be seen without a text is
//! refused when the manifest is read: schemas that are large, go round in circles or grow without end while they look
//! at one and the same value (`outline.rs`), patterns that are large (`pattern.rs`). The rest is paid for while a text
//! is checked (`work.rs`): every schema that is applied has a price, and what is too dear does not fit. Two editions of
//! a schema (`edition.rs`) carry the prices: one only says whether a text fits, the other why not.

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};
use serde_json::Value;

use self::{dialect::Dialect, edition::Edition, instance::Instance, work::Toll};

mod dialect;
mod edition;
mod instance;
mod misfit;
mod outline;
mod pattern;
mod reference;
mod unique;
mod work;

pub use misfit::Misfit;
pub use pattern::PatternRoom;
pub use work::Patience;

/// Largest schema, written as JSON without white space. Hand-written ones have less than 4 KiB, generated ones of
/// large models 30.
const MAX_BYTES: usize = 64 << 10;

/// Errors that are told of one text. More help nobody, and each costs memory.
pub const MAX_MISFITS: usize = 100;

/// A JSON Schema, ready to be used. Clones share it.
#[derive(Clone)]
pub struct Schema {
    source: Value,
    compiled: Arc<Compiled>,
}

struct Compiled {
    /// Says whether a text fits.
    judging: Edition,
    /// Says why it does not.
    explaining: Edition,
}

/// Why a value is no schema, or none that we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at {place:?}: {reason}")]
pub struct SchemaFault {
    /// JSON Pointer into the schema.
    pub place: String,
    /// What is wrong there.
    pub reason: String,
}

impl SchemaFault {
    fn new(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { place: place.into(), reason: reason.into() }
    }
}

/// Why a text does not fit a schema.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is no JSON.
    #[error("it is not valid JSON: {0}")]
    Syntax(#[source] serde_json::Error),
    /// It says something else than the schema: where, at least once and at most [`MAX_MISFITS`] times.
    #[error("it does not fit the schema")]
    Misfits(Vec<Misfit>),
    /// Nobody knows: the patience was at its end.
    #[error("checking it takes too much work")]
    TooMuchWork,
}

impl Schema {
    /// Takes a schema as the manifest writes it; its patterns take from the room of the package.
    ///
    /// # Errors
    /// The first fault with its place.
    pub fn compile(source: Value, room: &mut PatternRoom) -> Result<Self, SchemaFault> {
        let size = source.to_string().len();
        if size > MAX_BYTES {
            let reason = format!("the schema has {size} bytes as JSON; at most {MAX_BYTES} are taken");
            return Err(SchemaFault::new("", reason));
        }
        let dialect = Dialect::of(&source)?;
        dialect.check(&source)?;
        let outline = outline::read(&source, dialect)?;
        let prices = pattern::prices(&outline, room)?;
        let compiled = Compiled {
            judging: edition::judging(&outline, &prices, dialect)?,
            explaining: edition::explaining(&outline, &prices, dialect)?,
        };
        Ok(Self { source, compiled: Arc::new(compiled) })
    }

    /// As it was written.
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// Whether a text is JSON that fits. It is read once.
    ///
    /// # Errors
    /// See [`Unfit`]. With [`Patience::Long`] nothing stays open: what takes too much work does not fit.
    pub fn check(&self, text: &str, patience: Patience) -> Result<(), Unfit> {
        let instance = match Instance::read(text) {
            Ok(instance) => instance,
            Err(instance::ReadError::Syntax(error)) => return Err(Unfit::Syntax(error)),
            Err(instance::ReadError::TooMany) => {
                return Err(Unfit::Misfits(vec![Misfit::whole(instance::TOO_MANY)]));
            }
        };
        self.judge(&instance, patience)
    }

    /// Whether a value of the manifest fits, on whatever thread that is.
    ///
    /// # Errors
    /// What does not.
    pub(super) fn check_value(&self, value: &Value) -> Result<(), Vec<Misfit>> {
        match self.check(&value.to_string(), Patience::Brief) {
            Ok(()) => Ok(()),
            Err(Unfit::Misfits(misfits)) => Err(misfits),
            Err(other @ (Unfit::Syntax(_) | Unfit::TooMuchWork)) => {
                Err(vec![Misfit::whole(other.to_string())])
            }
        }
    }

    fn judge(&self, instance: &Instance, patience: Patience) -> Result<(), Unfit> {
        let Compiled { judging, explaining } = &*self.compiled;
        let fits = work::within(patience, Toll::Looking, || judging.validator.is_valid(&instance.value));
        match (fits, patience) {
            (Some(true), _) => return Ok(()),
            (Some(false), _) => {}
            (None, Patience::Brief) => return Err(Unfit::TooMuchWork),
            (None, Patience::Long) => {
                let told = "checking it against the schema takes too much work";
                return Err(Unfit::Misfits(vec![Misfit::whole(told)]));
            }
        }
        let toll = Toll::Telling { path: instance.longest_path, copies: explaining.keeps_branches };
        let all = || {
            let errors = explaining.validator.iter_errors(&instance.value).take(MAX_MISFITS);
            errors.map(|error| explaining.misfit(&error)).collect::<Vec<_>>()
        };
        let first = || {
            let error = explaining.validator.validate(&instance.value).err();
            error.map(|error| explaining.misfit(&error))
        };
        // One error takes no room, but for those of branches in it.
        let toll_of_one = if explaining.keeps_branches { toll } else { Toll::Looking };
        let misfits = match (work::within(patience, toll, all), patience) {
            (Some(misfits), _) => misfits,
            (None, Patience::Brief) => return Err(Unfit::TooMuchWork),
            // There are too many to tell, or they are too large; one of them may be told.
            (None, Patience::Long) => {
                work::within(patience, toll_of_one, first).flatten().into_iter().collect()
            }
        };
        if misfits.is_empty() {
            let reason = "it does not fit the schema; telling where takes too much work";
            return Err(Unfit::Misfits(vec![Misfit::whole(reason)]));
        }
        Err(Unfit::Misfits(misfits))
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema").field(&self.source).finish()
    }
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.source.serialize(serializer)
    }
}

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod tests;
