//! Mounts a package and calls one of its agents, without a gateway.
//!
//! ```sh
//! cargo run -p par-pool --example embedded -- tests/agents/hello hello '{"name": "Ada"}'
//! ```

use std::{error::Error, io::Write as _, sync::Arc, time::Duration};

use bytes::Bytes;
use par_pool::{
    fleet::{Call, LoadOptions, Outcome, Pool, PoolSettings},
    package::Source,
    process::{OutputLine, OutputSink},
};
use prometheus::Registry;

/// How long calls that still run at the end may go on.
const GRACE: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(source), Some(agent), Some(input)) = (words.next(), words.next(), words.next()) else {
        return Err("usage: embedded SOURCE AGENT INPUT".into());
    };
    let result = call(&source, &agent, &input).await?;
    std::io::stdout().write_all(&result)?;
    Ok(writeln!(std::io::stdout())?)
}

/// The result of one call, as JSON.
pub(crate) async fn call(source: &str, agent: &str, input: &str) -> Result<Bytes, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    // What agents print goes to whoever embeds them.
    let output =
        OutputSink(Arc::new(|line: &OutputLine<'_>| drop(writeln!(std::io::stderr(), "{}", line.text))));
    let pool = Pool::new(PoolSettings::new(directory.path().to_owned()), &Registry::new(), output)?;
    pool.load(&Source::parse(source)?, LoadOptions::default()).await?;
    let found = pool.directory().find(agent).map(Arc::clone);
    let agent = found.ok_or_else(|| format!("there is no agent {agent:?}"))?;
    let input = Bytes::copy_from_slice(input.as_bytes());
    let call = Call::of(&agent, input, Arc::from("embedded-1"), pool.request_timeout());
    let answer = pool.call(&agent, call).await;
    pool.stop(GRACE).await;
    if let Outcome::Done { payload, .. } = answer.outcome {
        return Ok(payload);
    }
    Err(format!("it did not answer: {:?}", answer.outcome).into())
}
