//! Whether inputs and results fit the schemas of their agent: bytes enter, nothing or a refusal leaves.
//!
//! A call of an agent with a schema is read as JSON here and nowhere else. That takes about 60 ns a value and as much
//! again to check it; the threads of the edge have other calls to answer, so what is long, or turns out to be more than
//! a millisecond of work, goes to threads of its own. There are as many of them as processors: each may hold some
//! hundred megabytes for a while.

use std::{
    io,
    sync::LazyLock,
    time::{Duration, Instant},
};

use bytes::Bytes;
use par_pool::{
    fleet::Agent,
    package::{Misfit, Patience, Schema, Unfit},
};
use par_proto::code::Code;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::{intake::bad_json, invoke::Success, refusal::Refusal};

/// Longest text that is checked where it arrives: half a millisecond if it is numbers, less if it is text.
const SHORT: usize = 16 << 10;

/// Misfits of a result that are told in one message.
const TOLD: usize = 10;

static THREADS: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(std::thread::available_parallelism().map_or(1, usize::from))
        .thread_stack_size(Patience::STACK)
        .thread_keep_alive(Duration::from_secs(10))
        .thread_name("par-schema")
        .build()
});

/// Why a text is not let pass.
enum Unfitting {
    /// It does not fit.
    Text(Unfit),
    /// Nobody looked at it before its deadline.
    Late,
    /// Nobody could look at it.
    Failed,
}

/// Whether an input is JSON that fits the agent's schema, if it has one. An agent without one takes any JSON, and its
/// input has been read already.
pub(super) async fn input(agent: &Agent, input: &Bytes, deadline: Instant) -> Result<(), Refusal> {
    let Some(schema) = agent.export().and_then(|export| export.input_schema.as_ref()) else { return Ok(()) };
    let unfit = match check(schema, input, deadline).await {
        Ok(()) => return Ok(()),
        Err(Unfitting::Text(unfit)) => unfit,
        Err(Unfitting::Late) => return Err(late("the call could not start before its deadline")),
        Err(Unfitting::Failed) => return Err(failed()),
    };
    match unfit {
        Unfit::Syntax(error) => Err(bad_json(&error)),
        Unfit::Misfits(misfits) => Err(misfit(&misfits)),
        Unfit::TooMuchWork => Err(failed()),
    }
}

/// Whether a result fits the agent's schema, if it has one.
pub(super) async fn result(agent: &Agent, success: &Success, deadline: Instant) -> Result<(), Refusal> {
    let Some(schema) = agent.export().and_then(|export| export.output_schema.as_ref()) else { return Ok(()) };
    if !success.is_json() {
        return Err(unfit_result("its type is not application/json", "the result is no JSON"));
    }
    let unfit = match check(schema, &success.body, deadline).await {
        Ok(()) => return Ok(()),
        Err(Unfitting::Text(unfit)) => unfit,
        Err(Unfitting::Late) => return Err(late("the result could not be checked before the deadline")),
        Err(Unfitting::Failed) => return Err(failed()),
    };
    match unfit {
        Unfit::Misfits(misfits) => {
            let place = misfits.first().map_or_else(String::new, |first| {
                format!("at {:?} (schema {:?})", first.path, first.schema_path)
            });
            let all: Vec<String> = misfits.iter().take(TOLD).map(ToString::to_string).collect();
            Err(unfit_result(&place, &all.join("; ")))
        }
        other @ (Unfit::Syntax(_) | Unfit::TooMuchWork) => Err(unfit_result("", &other.to_string())),
    }
}

/// Here if that is quick, else where there is time for it.
async fn check(schema: &Schema, text: &Bytes, deadline: Instant) -> Result<(), Unfitting> {
    if text.len() <= SHORT {
        match look(schema, text, Patience::Brief) {
            Err(Unfit::TooMuchWork) => {}
            checked => return checked.map_err(Unfitting::Text),
        }
    }
    let Ok(threads) = THREADS.as_ref() else { return Err(Unfitting::Failed) };
    let (schema, text) = (schema.clone(), text.clone());
    let checking = threads.spawn_blocking(move || {
        // Whoever asked has been answered already.
        if Instant::now() >= deadline { None } else { Some(look(&schema, &text, Patience::Long)) }
    });
    match tokio::time::timeout_at(deadline.into(), checking).await {
        Ok(Ok(Some(checked))) => checked.map_err(Unfitting::Text),
        Ok(Ok(None)) | Err(_) => Err(Unfitting::Late),
        Ok(Err(_)) => Err(Unfitting::Failed),
    }
}

fn look(schema: &Schema, text: &[u8], patience: Patience) -> Result<(), Unfit> {
    match std::str::from_utf8(text) {
        Ok(text) => schema.check(text, patience),
        Err(error) => Err(Unfit::Syntax(serde::de::Error::custom(format!("not UTF-8: {error}")))),
    }
}

fn misfit(misfits: &[Misfit]) -> Refusal {
    let mut refusal =
        Refusal::new(Code::InputInvalid, "the input does not fit the input_schema of the agent");
    refusal.errors = serde_json::value::to_raw_value(misfits).ok();
    refusal
}

/// The place is for everybody; the message is shown to whom the messages of agents' errors are.
fn unfit_result(place: &str, message: &str) -> Refusal {
    let detail = format!("the result does not fit the output_schema of the agent: {place}");
    let mut refusal = Refusal::new(Code::AgentError, detail.trim_end_matches([':', ' ']).to_owned());
    refusal.fault = Some(Box::new(json!({ "type": "OutputInvalid", "message": message })));
    refusal
}

fn late(detail: &'static str) -> Refusal {
    Refusal::new(Code::DeadlineExceeded, detail)
}

fn failed() -> Refusal {
    Refusal::new(Code::Internal, "the schema of the agent could not be asked")
}
