//! One place where a text does not fit: an error of the validator enters, short texts without values of the input
//! leave.

use std::fmt::{self, Write as _};

use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde::Serialize;

/// Longest message. Names of properties, options of an enum and patterns are told, and may be long.
const MESSAGE: usize = 300;

/// Longest place. A pointer of more is made of names that nobody reads.
const PLACE: usize = 1024;

/// Where a text does not fit, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Misfit {
    /// JSON Pointer into the text; one of more than 1 KiB is cut and ends with `…`.
    pub path: String,
    /// One sentence. It repeats no value, but may name properties.
    pub message: String,
    /// JSON Pointer into the schema.
    pub schema_path: String,
}

impl Misfit {
    /// Something about the whole text.
    pub(super) fn whole(message: impl Into<String>) -> Self {
        Self { path: String::new(), message: message.into(), schema_path: String::new() }
    }

    /// An error at this place of the schema.
    pub(super) fn new(error: &ValidationError<'_>, schema_path: String, branches: Option<&str>) -> Self {
        let mut message = Short::new(MESSAGE);
        // A text that is cut ends with an error.
        match branches {
            Some(keyword) => write!(message, "the value fits not as the schemas of '{keyword}' ask for").ok(),
            None => write!(message, "{}", Told(error)).ok(),
        };
        let mut path = Short::new(PLACE);
        path.write_str(error.instance_path().as_str()).ok();
        Self { path: path.text, message: message.text, schema_path }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:?}: {} (schema {:?})", self.path, self.message, self.schema_path)
    }
}

/// The text of an error about a schema, which may be repeated.
pub(super) fn shortened(error: &ValidationError<'_>) -> String {
    let mut text = Short::new(MESSAGE);
    write!(text, "{error}").ok();
    text.text
}

/// The text of an error without the value.
struct Told<'a>(&'a ValidationError<'a>);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ValidationErrorKind::PropertyNames { error } = self.0.kind() {
            return write!(f, "a name of a property: {}", error.masked_with("it"));
        }
        write!(f, "{}", self.0.masked_with("the value"))
    }
}

/// A text that takes so many bytes and no more.
struct Short {
    text: String,
    most: usize,
}

impl Short {
    fn new(most: usize) -> Self {
        Self { text: String::new(), most }
    }
}

impl fmt::Write for Short {
    /// Fails where the text is cut, so that nobody goes on writing.
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = self.most.saturating_sub(self.text.len());
        if part.len() <= room {
            self.text.push_str(part);
            return Ok(());
        }
        let cut = (0..=room).rev().find(|at| part.is_char_boundary(*at)).unwrap_or(0);
        self.text.push_str(part.get(..cut).unwrap_or_default());
        self.text.push('…');
        self.most = 0;
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let mut text = Short::new(5);
        assert!(text.write_str("aé").is_ok());
        assert!(text.write_str("éé").is_err());
        assert_eq!(text.text, "aéé…");
        let mut text = Short::new(4);
        assert!(text.write_str("aééé").is_err());
        assert_eq!(text.text, "aé…");
    }
}
