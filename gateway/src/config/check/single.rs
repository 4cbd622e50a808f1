//! Which mode it is, where it listens, and what only single mode needs.

use std::net::IpAddr;

use par_pool::package::Source;
use par_proto::ids::Digest;

use super::{Check, Fault, Origin, Setting, expand, parse, raw};
use crate::config::{
    listen,
    single::{BasePath, Single},
};

/// Names of `RUNTIME_MODE` that mean many packages.
const HOST_MODES: [&str; 4] = ["", "host", "multi", "multi-agent"];

/// Ports by what listens there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) http: u16,
    pub(super) a2a: u16,
    pub(super) ui: u16,
    pub(super) metrics: u16,
}

impl Check<'_> {
    /// Whether this is single mode: as soon as anything of it was named. A mode that nobody knows is a typing error, and
    /// would silently be host mode.
    pub(super) fn is_single(&mut self, warnings: &mut Vec<String>) -> bool {
        let mode = self.environment.get("RUNTIME_MODE").unwrap_or_default().to_ascii_lowercase();
        let named = [&raw::AGENT_APP_ID, &raw::PACKAGE_URL].map(|setting| self.raw.get(setting).is_some());
        if mode == "single" {
            return true;
        }
        if !HOST_MODES.contains(&mode.as_str()) {
            self.faults.push(Fault {
                name: "RUNTIME_MODE".to_owned(),
                origin: Origin::Environment,
                problem: format!("{mode:?} is not one of single, host"),
            });
        }
        let single = named.contains(&true);
        if single && !mode.is_empty() {
            warnings.push(format!(
                "RUNTIME_MODE is {mode}, but AGENT_APP_ID or PACKAGE_URL is given: this is single mode"
            ));
        }
        single
    }

    /// Each mode reads only its own. Without a UI port of its own, host mode has none to compare.
    pub(super) fn ports(&mut self, single: bool) -> Ports {
        let (http, default) = if single { (&raw::REST_PORT, 8080) } else { (&raw::PORT, 8000) };
        let mut read = |setting: &'static Setting, default| {
            (setting, setting.variable.unwrap_or(setting.key), self.value(setting, default, parse::port))
        };
        let mut ports = vec![read(http, default), read(&raw::A2A_PORT, 50_051)];
        ports.extend(single.then(|| read(&raw::UI_PORT, 3000)));
        ports.push(read(&raw::METRICS_PORT, 9090));
        for (at, (setting, name, port)) in ports.iter().enumerate() {
            let Some((other, theirs, _)) = ports.iter().take(at).find(|(_, _, taken)| taken == port) else {
                continue;
            };
            // Whoever wrote one of them is told that one.
            let blamed = if self.raw.get(setting).is_some() { *setting } else { *other };
            let problem = format!("{name} and {theirs} are both {port}; ports must be distinct");
            self.fault(blamed, problem);
        }
        let of = |wanted: &Setting| {
            ports.iter().find(|(setting, ..)| *setting == wanted).map_or(0, |(_, _, port)| *port)
        };
        Ports {
            http: of(http),
            a2a: of(&raw::A2A_PORT),
            ui: of(&raw::UI_PORT),
            metrics: of(&raw::METRICS_PORT),
        }
    }

    /// What only single mode has; nothing of it is made up.
    pub(super) fn single(&mut self, host: IpAddr, ui_port: u16) -> Single {
        let agent_app_id = self.required(&raw::AGENT_APP_ID, "the identity of this agent", agent_app_id);
        let own = agent_app_id.as_deref().map_or_else(|| BasePath::of_agent(""), BasePath::of_agent);
        let base_path = match self.text(&raw::BASE_PATH) {
            Some(_) => self.value(&raw::BASE_PATH, own, BasePath::parse),
            None => own,
        };
        Single {
            agent_app_id: agent_app_id.unwrap_or_default(),
            base_path,
            root_routes: self.value(&raw::ROOT_ROUTES, false, parse::boolean),
            multiplexed: self.value(&raw::MULTIPLEXED, true, parse::boolean),
            ui: listen(host, ui_port),
            boot_budget: self.value(&raw::BOOT_BUDGET, DEFAULT_BUDGET, parse::milliseconds),
            boot_failures: self.value(&raw::BOOT_FAILURES, 0, failures),
        }
    }

    /// The one package of single mode.
    pub(super) fn package(&mut self, arguments: &[String], warnings: &mut Vec<String>) -> Vec<Source> {
        if !arguments.is_empty() {
            let problem = "single mode serves the package of PACKAGE_URL and no other".to_owned();
            self.faults.push(Fault { name: "SOURCE".to_owned(), origin: Origin::Flag, problem });
        }
        for setting in [&raw::SOURCES, &raw::LAZY, &raw::REGISTRY_URL] {
            if self.text_or_list(setting) {
                let name = setting.variable.unwrap_or(setting.key);
                warnings
                    .push(format!("{name} has no effect in single mode: PACKAGE_URL names the one package"));
            }
        }
        let source = self.required(&raw::PACKAGE_URL, "the package to run", one_package);
        let digest = match self.text(&raw::PACKAGE_SHA256) {
            Some(_) => self.parsed(&raw::PACKAGE_SHA256, digest),
            None => None,
        };
        let Some(mut source) = source else { return Vec::new() };
        if let (Some(named), Some(given)) = (source.sha256, digest)
            && named != given
        {
            self.fault(&raw::PACKAGE_SHA256, "PACKAGE_URL names another digest behind #sha256=");
        }
        source.sha256 = digest.or(source.sha256);
        vec![source]
    }

    fn text_or_list(&mut self, setting: &Setting) -> bool {
        !self.list(setting, |text| Ok(text.to_owned())).is_empty()
    }

    /// A value that must be there and not be empty.
    fn required<T>(
        &mut self,
        setting: &Setting,
        what: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.raw.get(setting).is_none() {
            self.fault(setting, format!("is required in single mode: {what}"));
            return None;
        }
        self.parsed(setting, |text| {
            if text.is_empty() {
                return Err(format!("is empty, and is required in single mode: {what}"));
            }
            parse(text)
        })
    }
}

/// What small packages need on a small machine, the figure of the contract.
const DEFAULT_BUDGET: std::time::Duration = std::time::Duration::from_secs(5);

/// `^[A-Za-z0-9][A-Za-z0-9_.-]*$`
fn agent_app_id(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} must begin with a letter or a digit and have only letters, digits, _ . -"))
}

fn one_package(text: &str) -> Result<Source, String> {
    let mut sources = expand(text)?;
    match (sources.pop(), sources.len()) {
        (Some(source), 0) => Ok(source),
        (Some(_), more) => Err(format!("is a directory of {} packages; name one of them", more + 1)),
        (None, _) => Err("is a directory without a package".to_owned()),
    }
}

fn digest(text: &str) -> Result<Digest, String> {
    text.to_ascii_lowercase().parse().map_err(|error| format!("{text:?}: {error}"))
}

fn failures(text: &str) -> Result<u32, String> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| format!("{text:?} is not a number of failed boots"))
}

#[cfg(test)]
mod tests;
