//! Which session is meant, and whose it is.

use std::{fmt, str::FromStr, sync::Arc};

/// Most characters of an id: two UUIDs and a name fit. Ids stand in headers, log lines and every frame of a session.
const LONGEST: usize = 128;

/// A client's name for a session: 1–128 visible characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionId(Arc<str>);

/// 400 `bad_request`: what was sent is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session id is 1 to {LONGEST} visible characters")]
pub struct BadSessionId;

impl SessionId {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionId {
    type Err = BadSessionId;

    fn from_str(text: &str) -> Result<Self, BadSessionId> {
        // Counting stops where it is known to be too long: what comes may have any size.
        let length = text.chars().take(LONGEST + 1).count();
        let visible = |character: char| !character.is_control() && !character.is_whitespace();
        if (1..=LONGEST).contains(&length) && text.chars().all(visible) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(BadSessionId)
        }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for SessionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for SessionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Who may use a session.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// With identity off everybody is the same caller: whoever knows the id.
    Anybody,
    /// The one who opened it.
    Caller {
        /// The tenant of its token.
        tenant: Arc<str>,
        /// The subject of its token.
        subject: Arc<str>,
    },
}

/// A caller's word that a call belongs to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Which.
    pub id: SessionId,
    /// Who says so.
    pub owner: Owner,
    /// On whose account a new one goes.
    pub tenant: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_visible_and_short() {
        for good in ["a", "user-1/chat:2", "s\u{e9}ance", &"x".repeat(128), &"\u{4e16}".repeat(128)] {
            assert_eq!(good.parse::<SessionId>().unwrap().as_str(), good);
        }
        let huge = "x".repeat(10_000_000);
        for bad in
            ["", " ", "a b", "a\n", "\u{0}", "a\u{7f}", "a\u{85}b", "a\u{a0}b", &"x".repeat(129), &huge]
        {
            assert_eq!(bad.parse::<SessionId>(), Err(BadSessionId));
        }
    }
}
