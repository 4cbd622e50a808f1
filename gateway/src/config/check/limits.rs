//! What tenants and agents may take, with the exceptions of those that are named.

use std::collections::BTreeMap;

use par_proto::ids::{ExportId, PackageName};
use serde_yaml::Value;

use super::{Check, Fault, Setting, raw};
use crate::config::{
    limits::{AGENT_KEYS, Allowance, Allowances, Key, Rate, TENANT_KEYS, concurrent, daily, optional},
    raw::Written,
};

impl Check<'_> {
    /// Rates, calls at once and quotas.
    pub(super) fn allowances(&mut self) -> Allowances {
        let rate = |text: &str| optional(text, str::parse::<Rate>);
        let quota = |text: &str| optional(text, daily);
        let tenant = Allowance {
            rate: self.value(&raw::TENANT_RATE, None, rate),
            concurrent: self.value(&raw::TENANT_CONCURRENT, None, concurrent),
            daily_calls: self.value(&raw::TENANT_DAILY_CALLS, None, quota),
            daily_tokens: self.value(&raw::TENANT_DAILY_TOKENS, None, quota),
        };
        let agent = Allowance {
            rate: self.value(&raw::AGENT_RATE, None, rate),
            concurrent: self.value(&raw::AGENT_CONCURRENT, None, concurrent),
            ..Allowance::default()
        };
        Allowances {
            global_rate: self.value(&raw::GLOBAL_RATE, None, rate),
            tenants: self.by_name(&raw::TENANTS, tenant, TENANT_KEYS, tenant_name),
            agents: self.by_name(&raw::AGENTS, agent, AGENT_KEYS, agent_name),
            tenant,
            agent,
        }
    }

    /// Allowances by name: each begins with the default and is changed by its own keys.
    fn by_name(
        &mut self,
        setting: &Setting,
        default: Allowance,
        keys: &[Key],
        check_name: fn(&str) -> Result<(), String>,
    ) -> BTreeMap<String, Allowance> {
        let mut allowances = BTreeMap::new();
        let Some((Written::Tree(tree), origin)) = self.raw.get(setting).cloned() else { return allowances };
        let mut faults = Vec::new();
        let mut fault = |path: String, problem: String| {
            faults.push(Fault { name: path, origin: origin.clone(), problem });
        };
        match tree {
            Value::Null => {}
            Value::Mapping(entries) => {
                for (name, entry) in entries {
                    let name = raw::scalar(&name).unwrap_or_else(|| format!("{name:?}"));
                    let path = format!("{}.{name}", setting.key);
                    if let Err(problem) = check_name(&name) {
                        fault(path.clone(), problem);
                    }
                    let mut allowance = default;
                    for (key, problem) in change(&mut allowance, keys, &entry) {
                        let path = if key.is_empty() { path.clone() } else { format!("{path}.{key}") };
                        fault(path, problem);
                    }
                    allowances.insert(name, allowance);
                }
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Sequence(_) | Value::Tagged(_) => {
                fault(setting.key.to_owned(), "must hold a mapping of names".to_owned());
            }
        }
        self.faults.append(&mut faults);
        allowances
    }
}

/// Applies one entry; the faults are its keys with what is wrong.
fn change(allowance: &mut Allowance, keys: &[Key], entry: &Value) -> Vec<(String, String)> {
    let known = || keys.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let Value::Mapping(values) = entry else {
        return vec![(String::new(), format!("must hold a mapping with {}", known()))];
    };
    let mut faults = Vec::new();
    for (key, value) in values {
        let key = raw::scalar(key).unwrap_or_else(|| format!("{key:?}"));
        let text = if value.is_null() { Some(String::new()) } else { raw::scalar(value) };
        let changed = match (keys.iter().find(|(name, _)| *name == key), text) {
            (Some((_, apply)), Some(text)) => apply(allowance, text.trim()),
            (Some(_), None) => Err("must be a plain value".to_owned()),
            (None, _) => Err(format!("there is no such key; there are {}", known())),
        };
        if let Err(problem) = changed {
            faults.push((key, problem));
        }
    }
    faults
}

fn tenant_name(name: &str) -> Result<(), String> {
    if name.is_empty() { Err("a tenant has a name".to_owned()) } else { Ok(()) }
}

/// `package/export` or `export`.
fn agent_name(name: &str) -> Result<(), String> {
    let fits = match name.split_once('/') {
        Some((package, export)) => {
            package.parse::<PackageName>().is_ok() && export.parse::<ExportId>().is_ok()
        }
        None => name.parse::<ExportId>().is_ok(),
    };
    if fits { Ok(()) } else { Err("is not the id of an agent like package/export or export".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment, Flags};

    fn load(limits: &str) -> Result<Allowances, Vec<String>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("limits:\n{limits}")).unwrap();
        let flags = Flags { file: Some(file.path().to_owned()), ..Flags::default() };
        let environment: Environment = [("HOME", "/home/me")].into_iter().collect();
        let place = format!(" ({})", file.path().display());
        Config::load(&flags, &environment)
            .map(|config| config.allowances)
            .map_err(|faults| faults.0.iter().map(|fault| fault.to_string().replace(&place, "")).collect())
    }

    #[test]
    fn nothing_is_limited_unless_it_is_written() {
        assert!(load("  max_concurrent: 5\n").unwrap().is_off());
        let empty = "  global_rate:\n  tenant_rate: ''\n  agent_concurrent: 0\n  tenants: {}\n  agents:\n";
        assert!(load(empty).unwrap().is_off());
    }

    #[test]
    fn those_that_are_named_change_what_is_written_and_keep_the_rest() {
        let allowances = load(concat!(
            "  global_rate: 1000/s\n  tenant_rate: 10/s\n  tenant_concurrent: 5\n  tenant_daily_calls: 100\n",
            "  agent_rate: 7/s burst 9\n",
            "  tenants:\n    acme: {rate: 50/s burst 60, daily_tokens: 1000}\n",
            "    free: {rate: '', concurrent: 0}\n",
            "  agents:\n    echo/echo: {concurrent: 2}\n    slow: {rate: }\n",
        ))
        .unwrap();
        let rate = |text: &str| Some(text.parse().unwrap());
        assert_eq!(allowances.global_rate, rate("1000/s"));
        let others = allowances.tenant;
        assert_eq!(
            others,
            Allowance { rate: rate("10/s"), concurrent: Some(5), daily_calls: Some(100), daily_tokens: None }
        );
        let acme = Allowance { rate: rate("50/s burst 60"), daily_tokens: Some(1000), ..others };
        let free = Allowance { rate: None, concurrent: None, ..others };
        assert_eq!(allowances.tenants, [("acme".to_owned(), acme), ("free".to_owned(), free)].into());
        let (echo, slow) = (&allowances.agents["echo/echo"], &allowances.agents["slow"]);
        assert_eq!((echo.rate, echo.concurrent), (rate("7/s burst 9"), Some(2)));
        assert!(slow.is_off());
    }

    #[test]
    fn every_fault_is_told_at_once_with_its_path() {
        let faults = load(concat!(
            "  tenant_rate: fast\n  tenant_concurrent: -1\n  tenant_daily_calls: 0\n",
            "  tenants:\n    a: {rat: 1/s, daily_calls: x}\n    b: 5\n    c: {rate: [1]}\n",
            "  agents: {A@1/b: {}, x: {daily_calls: 1}}\n",
        ))
        .unwrap_err();
        let paths: Vec<_> = faults.iter().map(|fault| fault.split(':').next().unwrap()).collect();
        assert_eq!(
            paths,
            [
                "limits.tenant_rate",
                "limits.tenant_concurrent",
                "limits.tenant_daily_calls",
                "limits.tenants.a.rat",
                "limits.tenants.a.daily_calls",
                "limits.tenants.b",
                "limits.tenants.c.rate",
                "limits.agents.A@1/b",
                "limits.agents.x.daily_calls",
            ],
            "{faults:?}"
        );
        assert_eq!(load("  tenants: [a]\n").unwrap_err(), ["limits.tenants: must hold a mapping of names"]);
    }
}
