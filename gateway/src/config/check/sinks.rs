//! Receivers of StatsD: a list of the file, or addresses separated by commas in the environment.

use std::{path::Path, time::Duration};

use super::{Check, entry::Entry, parse, raw};
use crate::config::{
    raw::Written,
    telemetry::{Dialect, Sink, SinkAddress},
};

/// Longest packet by UDP: what fits a frame of Ethernet with the heads of IPv6 and UDP and room for a tunnel.
const UDP_PACKET: usize = 1432;

/// Longest packet by a Unix socket, as the clients of Datadog have it.
const UNIX_PACKET: usize = 8192;

/// As often as the receiver of StatsD looks at what it has.
const INTERVAL: Duration = Duration::from_secs(10);

impl Check<'_> {
    /// All of them.
    pub(super) fn sinks(&mut self) -> Vec<Sink> {
        let setting = &raw::METRICS_SINKS;
        let Some((written, _)) = self.raw.get(setting).cloned() else { return Vec::new() };
        let Written::Tree(tree) = written else {
            return self.list(setting, |text| {
                let (dialect, address) = by_text(text)?;
                Ok(sink(dialect, address))
            });
        };
        let mut told = Vec::new();
        let entries = Entry::all(setting.key, tree, &mut told);
        let mut sinks = Vec::new();
        for mut entry in entries {
            if let Some(sink) = one(&mut entry) {
                sinks.push(sink);
            }
            told.extend(entry.close());
        }
        self.tell(setting, told);
        sinks
    }
}

fn sink(dialect: Dialect, address: SinkAddress) -> Sink {
    let packet = match address {
        SinkAddress::Udp(_) | SinkAddress::Named(_) => UDP_PACKET,
        SinkAddress::Unix(_) => UNIX_PACKET,
    };
    Sink { dialect, address, prefix: String::new(), tags: Vec::new(), interval: INTERVAL, packet }
}

fn one(entry: &mut Entry) -> Option<Sink> {
    let dialect = entry.needed("type", dialect);
    let address = entry.needed("address", address);
    let prefix = entry.value("prefix", prefix);
    let interval = entry.value("interval", parse::interval);
    let packet = entry.value("packet_bytes", |text| {
        let bytes = text.parse().ok().filter(|bytes| (512..=65_507).contains(bytes));
        bytes.ok_or_else(|| format!("{text:?} is not a number from 512 to 65507"))
    });
    let tags = entry.section("tags").map(|mut section| {
        let tags = tags(&mut section);
        entry.absorb(section);
        tags
    });
    if dialect == Some(Dialect::Statsd) && tags.is_some() {
        entry.fault("tags", "StatsD has none; dogstatsd has");
    }
    let mut sink = sink(dialect?, address?);
    sink.prefix = prefix.unwrap_or_default();
    sink.tags = tags.unwrap_or_default();
    sink.interval = interval.unwrap_or(sink.interval);
    sink.packet = packet.unwrap_or(sink.packet);
    Some(sink)
}

/// `statsd://host:8125`, `dogstatsd:///run/datadog/dsd.socket`.
fn by_text(text: &str) -> Result<(Dialect, SinkAddress), String> {
    let (named, at) = text.split_once("://").ok_or_else(|| {
        format!("{text:?} is not like statsd://127.0.0.1:8125 or dogstatsd:///run/dsd.socket")
    })?;
    Ok((dialect(named)?, address(at)?))
}

fn dialect(text: &str) -> Result<Dialect, String> {
    match text {
        "statsd" => Ok(Dialect::Statsd),
        "dogstatsd" => Ok(Dialect::Dogstatsd),
        _ => Err(format!("{text:?} is not statsd or dogstatsd")),
    }
}

fn address(text: &str) -> Result<SinkAddress, String> {
    if text.starts_with('/') {
        let is_short = text.len() <= super::SOCKET_PATH;
        let path = || SinkAddress::Unix(Path::new(text).to_owned());
        return is_short.then(path).ok_or_else(|| format!("{text:?} is too long for a socket"));
    }
    if let Ok(address) = text.parse() {
        return Ok(SinkAddress::Udp(address));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if is_host(host) && parse::port(port).is_ok() => {
            Ok(SinkAddress::Named(text.to_owned()))
        }
        _ => Err(format!("{text:?} is not host:port or the path of a socket")),
    }
}

fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

fn prefix(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_prefix = text.bytes().all(fits);
    is_prefix
        .then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?} is not of letters, digits, `.`, `-`, `_`"))
}

/// `name: value` as `name:value`. What parts tags may stand in neither.
fn tags(section: &mut Entry) -> Vec<String> {
    let fits = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '|' | ',' | '#' | '@');
    let mut tags = Vec::new();
    for name in section.keys() {
        let value = section.needed(&name, |text| {
            let is_tag =
                !name.is_empty() && !name.contains(':') && name.chars().chain(text.chars()).all(fits);
            is_tag.then(|| text.to_owned()).ok_or_else(|| format!("{text:?} is no value of a tag"))
        });
        tags.extend(value.map(|value| format!("{name}:{value}")));
    }
    tags
}

#[cfg(test)]
mod tests {
    use crate::config::{
        Config, Environment, Flags,
        telemetry::{Dialect, Sink, SinkAddress},
    };

    fn load(yaml: &str, variable: Option<&str>) -> Result<Vec<Sink>, Vec<String>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("metrics:\n  sinks: {yaml}")).unwrap();
        let flags = Flags { file: Some(file.path().to_owned()), ..Flags::default() };
        let variable = variable.map(|text| ("PAR_METRICS_SINKS", text));
        let environment: Environment = [("HOME", "/home/me")].into_iter().chain(variable).collect();
        let place = format!(" ({})", file.path().display());
        Config::load(&flags, &environment)
            .map(|config| config.telemetry.sinks)
            .map_err(|faults| faults.0.iter().map(|fault| fault.to_string().replace(&place, "")).collect())
    }

    #[test]
    fn receivers_are_listed_in_the_file_or_named_in_the_environment() {
        let sinks = load(
            "[{type: statsd, address: '127.0.0.1:8125', prefix: prod., interval: 1s},
              {type: dogstatsd, address: /run/dsd.socket, tags: {env: prod, team: 'a:b'}, packet_bytes: 4096}]",
            None,
        )
        .unwrap();
        assert_eq!(
            (sinks[0].prefix.as_str(), sinks[0].packet, sinks[0].interval.as_secs()),
            ("prod.", 1432, 1)
        );
        assert_eq!(sinks[1].address, SinkAddress::Unix("/run/dsd.socket".into()));
        assert_eq!((sinks[1].tags.len(), sinks[1].packet, sinks[1].interval.as_secs()), (2, 4096, 10));
        let named = load("", Some("dogstatsd:///run/dsd.socket, statsd://stats.example:8125")).unwrap();
        assert_eq!((named[0].dialect, named[0].packet), (Dialect::Dogstatsd, 8192));
        assert_eq!(named[1].address, SinkAddress::Named("stats.example:8125".to_owned()));
    }

    #[test]
    fn faults_have_their_place() {
        let faults = load(
            "[{type: graphite, address: 'nowhere', interval: 1ms}, {type: statsd, address: 'a:1', tags: {x: y}},
              {type: dogstatsd, address: 'a:1', tags: {x: '', 'a b': c}, prefix: 'a b', packet_bytes: 9, more: 1}]",
            None,
        )
        .unwrap_err();
        let at = |start: &str| faults.iter().filter(|fault| fault.starts_with(start)).count();
        for (place, count) in [
            ("metrics.sinks[0].type: \"graphite\"", 1),
            ("metrics.sinks[0].address", 1),
            ("metrics.sinks[0].interval", 1),
            ("metrics.sinks[1].tags", 1),
            ("metrics.sinks[2].tags", 2),
            ("metrics.sinks[2].prefix", 1),
            ("metrics.sinks[2].packet_bytes", 1),
            ("metrics.sinks[2].more", 1),
        ] {
            assert_eq!(at(place), count, "{place} in {faults:#?}");
        }
        let variable = load("", Some("graphite://a:1,127.0.0.1:8125,statsd://a")).unwrap_err();
        assert_eq!(variable.len(), 3, "{variable:#?}");
    }
}
