//! What is logged, and how.

use tracing::Level;

use super::Check;
use crate::config::{Log, LogFormat, Sampling, parse, raw};

/// Of lines beyond the limit, one in so many is written unless somebody says otherwise.
const ONE_IN: usize = 100;

impl Check<'_> {
    pub(super) fn log(&mut self, dev: bool, agent_app_id: Option<String>) -> Log {
        let format = |text: &str| match text.to_ascii_lowercase().as_str() {
            "json" => Ok(LogFormat::Json),
            "text" => Ok(LogFormat::Text),
            _ => Err(format!("{text:?} is not json or text")),
        };
        Log {
            level: self.value(&raw::LOG_LEVEL, Level::INFO, parse::level),
            format: self.value(&raw::LOG_FORMAT, if dev { LogFormat::Text } else { LogFormat::Json }, format),
            recent_lines: self.value(&raw::LOG_RECENT, 2000, parse::count),
            sampling: self.sampling(),
            agent_app_id,
            deployment_id: self.text(&raw::DEPLOYMENT_ID),
        }
    }

    /// None: every line is written.
    fn sampling(&mut self) -> Option<Sampling> {
        let one_in = self.value(&raw::LOG_SAMPLE_ONE_IN, ONE_IN, parse::count);
        self.raw.get(&raw::LOG_SAMPLE_AFTER)?;
        let after = self.value(&raw::LOG_SAMPLE_AFTER, 0, parse::count);
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Some(Sampling { after: number(after), one_in: number(one_in) })
    }
}
