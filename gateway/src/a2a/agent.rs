//! The small answers of `pixell.agent.AgentService`.

use serde::Serialize;

use super::wire::Message;

/// Its methods, as it tells them.
const METHODS: [&str; 4] = ["Health", "DescribeCapabilities", "Invoke", "Ping"];

/// Something that a package can do, as clients show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Skill {
    /// What `Invoke` takes.
    pub(crate) id: String,
    /// For people.
    pub(crate) name: String,
    /// For people.
    pub(crate) description: String,
    /// Always empty: packages have none.
    pub(crate) tags: [String; 0],
}

/// `HealthStatus`; the time in milliseconds since 1970.
pub(crate) fn health_status(ok: bool, message: &str, now: u64) -> Vec<u8> {
    Message::default().number(1, u64::from(ok)).text(2, message).number(3, now).bytes()
}

/// `Pong`; the time in milliseconds since 1970.
pub(crate) fn pong(now: u64) -> Vec<u8> {
    Message::default().text(1, "pong").number(2, now).bytes()
}

/// `Capabilities` of a package.
pub(crate) fn capabilities(name: &str, version: &str, description: &str, skills: &[Skill]) -> Vec<u8> {
    // Texts always become JSON.
    let skills = serde_json::to_string(skills).unwrap_or_default();
    let methods = METHODS.iter().fold(Message::default(), |message, method| message.text(1, method));
    let pairs = [("name", name), ("version", version), ("description", description), ("skills", &skills)];
    let entry = |(key, value)| Message::default().text(1, key).text(2, value).bytes();
    pairs.into_iter().fold(methods, |message, pair| message.message(2, &entry(pair))).bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_numbered_as_their_clients_know() {
        assert_eq!(pong(1), b"\x0a\x04pong\x10\x01");
        assert_eq!(health_status(true, "m", 2), b"\x08\x01\x12\x01m\x18\x02");
        assert_eq!(health_status(false, "", 0), b"");
        let skill = Skill { id: "a".into(), name: "A".into(), description: String::new(), tags: [] };
        let told = capabilities("n", "1", "", &[skill]);
        let methods = b"\x0a\x06Health\x0a\x14DescribeCapabilities\x0a\x06Invoke\x0a\x04Ping";
        assert!(told.starts_with(methods));
        let skills = br#"[{"id":"a","name":"A","description":"","tags":[]}]"#;
        assert!(told.windows(skills.len()).any(|window| window == skills));
        assert!(told.windows(9).any(|window| window == b"\x0a\x04name\x12\x01n"));
    }
}
