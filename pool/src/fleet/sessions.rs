//! Sessions of the pool: calls in them, what is told about them, and what ends them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use par_proto::ids::PackageId;
use serde::Serialize;
use tokio::time::timeout_at;

use super::{
    book::Place,
    call::Call,
    directory::{Agent, Mount},
    generation::Generation,
    hold::AGAIN,
    lodging::{Home, Lodging, SessionTurn},
    outcome::{Answer, Outcome},
    pool::Pool,
};
use crate::{
    package::SessionMode,
    process::{Spent, usage},
    session::{Caps, Claim, Denied, Ending, Loss, Owner, Resting, Seen, SessionId, Turn, evict, excess},
};

/// How many sessions there may be, and what they may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSettings {
    /// Most of one package name.
    pub caps: Caps,
    /// Bytes that workers of isolated sessions may take together; `None`: half of the machine's memory.
    pub memory: Option<u64>,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self { caps: Caps { per_package: 1_000, per_tenant: 500 }, memory: None }
    }
}

/// Time between two looks at what lives. A session that is used is looked at by its call as well.
const LOOK: Duration = Duration::from_millis(250);

/// Share of the machine's memory that must stay available: with less, sessions that rest make room.
const RESERVE: u64 = 20;

/// Sessions measured in one look: a walk over page tables costs up to a millisecond.
const MEASURED: usize = 16;

/// One session, as `GET /runtime/sessions` tells it.
#[derive(Debug, Clone, Serialize)]
pub struct SessionStatus {
    /// The client's id.
    pub id: SessionId,
    /// The version that it lives in.
    pub package: PackageId,
    /// Full id of the agent that opened it.
    pub agent: Arc<str>,
    /// The generation that it lives in.
    pub generation: u64,
    /// `sticky` or `isolated`.
    pub mode: &'static str,
    /// Tenant of its owner; none with identity off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Arc<str>>,
    /// Process id of its worker; of one that came to a surface alone, of the process that serves that.
    pub worker: Option<u32>,
    /// Seconds since it began.
    pub age: f64,
    /// Seconds since its last work; 0 while a call is in it.
    pub idle: f64,
    /// Calls that were sent to its worker.
    pub calls: u64,
    /// Proportional set of its worker, which a sticky session shares with others.
    pub pss_bytes: u64,
}

/// Why a session was not ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndError {
    /// 404 `session_not_found`.
    #[error("there is no such session")]
    Unknown,
    /// 409 `conflict`.
    #[error("sessions of several packages have this id; name one of them with ?package=: {}", .0.join(", "))]
    Several(Vec<String>),
}

impl Pool {
    /// The agent that answers calls of a session: the one that was asked for, or the same of the version in which the
    /// session lives.
    ///
    /// # Errors
    /// [`Denied`]; an end is told by this, and the id is free then.
    pub fn resident(&self, agent: &Arc<Agent>, claim: &Claim) -> Result<Arc<Agent>, Denied> {
        match self.fleet.sessions.find(&agent.id.package.name, claim)? {
            None => Ok(Arc::clone(agent)),
            Some(lodging) if Arc::ptr_eq(&lodging.mount.generation, &agent.mount.generation) => {
                Ok(Arc::clone(agent))
            }
            Some(lodging) => self.in_version(agent, &lodging.mount).ok_or(Denied::Elsewhere),
        }
    }

    fn in_version(&self, agent: &Agent, mount: &Arc<Mount>) -> Option<Arc<Agent>> {
        let id = format!("{}/{}", mount.id, agent.id.export);
        let directory = self.directory.load();
        let listed =
            directory.find(&id).filter(|found| Arc::ptr_eq(&found.mount.generation, &mount.generation));
        // A version that is drained is in no table.
        listed.map(Arc::clone).or_else(|| agent.standing_in(mount).map(Arc::new))
    }

    /// Sends a call to the worker of its session; `agent` is what [`Pool::resident`] gave.
    pub(super) async fn call_in_session(&self, agent: &Agent, mut call: Call, claim: Claim) -> Answer {
        let begin = Instant::now();
        if agent.mount.package().session.mode == SessionMode::None {
            call.meta = naming(&call.meta, &claim.id, None);
            return agent.mount.generation.call(call).await;
        }
        let turn = match self.session_turn(agent, &call, &claim).await {
            Ok(turn) => turn,
            Err(outcome) => {
                return Answer { outcome, queued: begin.elapsed(), spent: Spent::default(), pid: 0 };
            }
        };
        let lodging = Arc::clone(&turn.visit.handle);
        // Since it was looked for, somebody may have begun it in another version.
        match lodging.mount.package().exports.iter().position(|export| export.id == agent.id.export) {
            Some(export) => call.export = u32::try_from(export).unwrap_or(u32::MAX),
            None => {
                let outcome = Outcome::Session(Denied::Elsewhere);
                return Answer { outcome, queued: begin.elapsed(), spent: Spent::default(), pid: 0 };
            }
        }
        call.meta = naming(&call.meta, &claim.id, Some(lodging.number));
        let waited = begin.elapsed();
        let mut answer = lodging.mount.generation.call_in(call, Some(&Arc::new(turn))).await;
        answer.queued += waited;
        answer
    }

    /// Lets a call into its session and waits for its turn.
    async fn session_turn(&self, agent: &Agent, call: &Call, claim: &Claim) -> Result<SessionTurn, Outcome> {
        let mount = &agent.mount;
        let begin = |number| self.lodging(number, Arc::clone(&agent.text), mount);
        let entered = self.fleet.sessions.enter(&agent.id.package.name, claim, Lodging::limits(mount), begin);
        let visit = entered.map_err(Outcome::Session)?;
        let lodging = Arc::clone(&visit.handle);
        if call.depth > 0 && lodging.is_in(&call.request_id) {
            return Err(Outcome::Session(Denied::Nested));
        }
        match timeout_at(call.deadline.into(), Turn::of(visit, &lodging.queue)).await {
            Ok(Ok(turn)) => {
                lodging.begin(&call.request_id);
                Ok(turn)
            }
            Ok(Err(visit)) => {
                visit.told();
                let ending = lodging.ending().unwrap_or(Ending::Lost(Loss::Shutdown));
                Err(Outcome::Session(Denied::Ended(ending)))
            }
            Err(_elapsed) => Err(Outcome::QueueFull { retry_after: AGAIN }),
        }
    }

    /// Every session that lives, oldest first. Reads `/proc` for each of them: for people.
    pub fn sessions(&self) -> Vec<SessionStatus> {
        let mut all = self.fleet.sessions.all();
        all.sort_by_key(|seen| seen.number);
        all.into_iter().map(status).collect()
    }

    /// Ends a session: its worker forgets it, and its next call is told that it was lost.
    ///
    /// # Errors
    /// [`EndError`]; nothing has changed then.
    pub fn end_session(&self, id: &str, package: Option<&str>) -> Result<(), EndError> {
        let is_meant = |seen: &Seen<Lodging>| {
            seen.id.as_str() == id && package.is_none_or(|name| seen.package.as_str() == name)
        };
        let meant: Vec<_> = self.fleet.sessions.all().into_iter().filter(is_meant).collect();
        if meant.len() > 1 {
            return Err(EndError::Several(meant.iter().map(|seen| seen.package.to_string()).collect()));
        }
        let ended = meant.iter().any(|seen| {
            self.fleet.sessions.end(&seen.package, &seen.id, seen.number, Ending::Lost(Loss::Evicted))
        });
        if ended { Ok(()) } else { Err(EndError::Unknown) }
    }

    /// Lets sessions of a generation that is no longer in the table go on until they end, at most for `grace`.
    pub(super) async fn finish_sessions(&self, generation: &Arc<Generation>, grace: Duration) {
        let name = &generation.installed.package.id.name;
        let lives = |seen: &Seen<Lodging>| Arc::ptr_eq(&seen.handle.mount.generation, generation);
        let until = Instant::now() + grace;
        while self.fleet.sessions.all().iter().any(lives) && Instant::now() < until {
            // No call can reach them if nothing of the name is left.
            if self.stopping.is_cancelled() || self.book.lock().of_name(name).next().is_none() {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.fleet.sessions.end_all(Ending::Lost(Loss::Rollout), lives);
    }

    /// Ends what rests or lives too long, what has stayed behind a rollout for too long, and what memory has no room for.
    pub(crate) async fn tend_sessions(self: Arc<Self>) {
        let sessions = Arc::clone(&self.fleet.sessions);
        let total = usage::total_memory().unwrap_or(u64::MAX);
        let bound = self.settings.sessions.memory.unwrap_or(total / 2);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = async {
                    sessions.some().await;
                    look.tick().await;
                } => {}
            }
            sessions.sweep();
            sessions.end_all(Ending::Lost(Loss::Crash), |seen| seen.handle.is_bereft());
            self.end_left_behind();
            let sessions = Arc::clone(&sessions);
            let looked = tokio::task::spawn_blocking(move || make_room(&sessions, bound, total)).await;
            if let Err(error) = looked {
                tracing::error!(
                    event = "sessions_unwatched",
                    "a look at the memory of sessions failed: {error}"
                );
            }
        }
    }

    /// Sessions of parked generations that began before the switch, when their time to finish is over.
    fn end_left_behind(&self) {
        let after = self.settings.rollout.drain_timeout;
        let left: Vec<_> = {
            let book = self.book.lock();
            let parked = book.standing.iter().filter_map(|standing| match standing.place {
                Place::Parked { since } if since.elapsed() >= after => {
                    Some((Arc::clone(&standing.mount), since))
                }
                Place::Parked { .. } | Place::Active | Place::Beside => None,
            });
            parked.filter(|(mount, _)| !book.has_share(mount)).collect()
        };
        for (mount, since) in left {
            self.fleet.sessions.end_all(Ending::Lost(Loss::Rollout), |seen| {
                Arc::ptr_eq(&seen.handle.mount, &mount) && seen.begun <= since
            });
        }
    }
}

/// Ends sessions that rest, the longest first, until the others have room.
fn make_room(sessions: &super::lodging::Lodgings, bound: u64, total: u64) {
    let all = sessions.all();
    let mut fresh = 0;
    let mut used = 0u64;
    let mut resting = Vec::new();
    for seen in &all {
        if fresh < MEASURED && seen.handle.is_unmeasured() {
            fresh += 1;
            seen.handle.measure();
        }
        let bytes = seen.handle.weight();
        used = used.saturating_add(bytes);
        if !seen.busy {
            resting.push(Resting { number: seen.number, rested: seen.rested, bytes });
        }
    }
    let available = usage::available_memory().unwrap_or(u64::MAX);
    let over = excess(used, bound, available, total / RESERVE);
    if over == 0 {
        return;
    }
    let gone = evict(resting, over);
    let number = sessions.end_all(Ending::Lost(Loss::Evicted), |seen| gone.contains(&seen.number));
    if number > 0 {
        tracing::warn!(
            event = "sessions_evicted",
            number,
            used,
            bound,
            available,
            "memory is short for sessions"
        );
    }
}

fn status(seen: Seen<Lodging>) -> SessionStatus {
    let lodging = &seen.handle;
    let pid = lodging.pid();
    SessionStatus {
        id: seen.id,
        package: lodging.mount.id.clone(),
        agent: Arc::clone(&lodging.agent),
        generation: lodging.mount.generation.number,
        mode: match lodging.home() {
            Some(Home::Own(_)) => "isolated",
            Some(Home::Shared(_)) | None => "sticky",
        },
        tenant: match seen.owner {
            Owner::Anybody => None,
            Owner::Caller { tenant, .. } => Some(tenant),
        },
        age: seen.begun.elapsed().as_secs_f64(),
        idle: if seen.busy { 0.0 } else { seen.rested.elapsed().as_secs_f64() },
        calls: lodging.calls.load(Ordering::Relaxed),
        pss_bytes: pid.and_then(usage::own).unwrap_or(0),
        worker: pid,
    }
}

/// Metadata of a call with its session: the client's id, and the number under which a worker keeps its state.
fn naming(meta: &Bytes, id: &SessionId, key: Option<u64>) -> Bytes {
    #[derive(Serialize)]
    struct Named<'a> {
        id: &'a SessionId,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<u64>,
    }
    let mut out = BytesMut::with_capacity(meta.len() + id.as_str().len() + 64);
    let open = meta.strip_suffix(b"}").unwrap_or(b"{");
    out.put_slice(open);
    if open.len() > 1 {
        out.put_u8(b',');
    }
    out.put_slice(b"\"session\":");
    // A string and a number always become JSON.
    out.put_slice(&serde_json::to_vec(&Named { id, key }).unwrap_or_default());
    out.put_slice(b"}");
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_names_the_session_and_where_its_state_is() {
        let id: SessionId = "a\"b".parse().unwrap();
        let with = naming(&Bytes::from_static(b"{\"request_id\":\"r\"}"), &id, Some(7));
        assert_eq!(with, r#"{"request_id":"r","session":{"id":"a\"b","key":7}}"#);
        assert_eq!(naming(&Bytes::new(), &id, None), r#"{"session":{"id":"a\"b"}}"#);
    }
}
