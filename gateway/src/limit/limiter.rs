//! Every limit of a call in one decision: global, tenant, agent, in this order. A refusal by one takes nothing from
//! the others.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use par_proto::ids::{AgentId, ExportId, PackageName};
use parking_lot::{Mutex, RwLock};

use super::{
    account::Account,
    bucket::{Bucket, Decision, Pace},
    entry::{Entry, Limited},
    moment::Moment,
    policy::{Owner, Policy, add_global},
    quota::Usage,
    quota_file::{QuotaFile, Usages},
    scope::Scope,
    table::Table,
};
use crate::config::{Allowances, Rate};

/// Most tenants that have accounts of their own at the same time: 65,536 of about 250 bytes are 16 MB. With half of
/// it a service with many small tenants would let them share one account; twice is where a search for idle ones is
/// felt.
const MOST_TENANTS: usize = 65_536;

/// Time between two looks at what can be forgotten and must be written: what a crash may cost.
const LOOK: Duration = Duration::from_secs(5);

type Policies = HashMap<Box<str>, Option<Arc<Policy>>>;

#[derive(Debug)]
struct Global {
    rate: Rate,
    pace: Pace,
    bucket: AtomicU64,
}

/// Accounts of the agents of one package; none: nothing is limited.
type Exports = HashMap<ExportId, Option<Arc<Account>>>;

/// The limits of this process.
#[derive(Debug)]
pub(crate) struct Limiter {
    origin: Instant,
    global: Option<Global>,
    tenant: Option<Arc<Policy>>,
    named_tenants: Policies,
    agent: Option<Arc<Policy>>,
    named_agents: Policies,
    accounts: Table<Account>,
    /// By package, whatever its version, and export; as many as were ever called.
    agents: RwLock<HashMap<PackageName, Exports>>,
    file: QuotaFile,
    written: Mutex<Usages>,
}

impl Limiter {
    /// The limiter of checked allowances, with what was used today before the last stop; none if nothing is limited.
    ///
    /// # Errors
    /// If the file of the quotas exists and can neither be read nor be put aside.
    pub(crate) fn start(allowances: &Allowances, file: PathBuf) -> io::Result<Option<Arc<Self>>> {
        if allowances.is_off() { Ok(None) } else { Self::open(allowances, file, Moment::now()).map(Some) }
    }

    fn open(allowances: &Allowances, file: PathBuf, now: Moment) -> io::Result<Arc<Self>> {
        let (file, before) = QuotaFile::open(file)?;
        let today = now.day();
        let before: Usages = before.into_iter().filter(|(_, usage)| usage.day == today).collect();
        let limiter = Self::empty(allowances, now.steady, file, before.clone());
        for (name, usage) in before {
            let Some(policy) = limiter.policy_of(&name).map(Arc::clone) else { continue };
            // Whoever was known before is known again, however many those are.
            limiter.accounts.get(&name.into(), true, 0, |_| false, || Account::new(policy, usage));
        }
        Ok(Arc::new(limiter))
    }

    fn empty(allowances: &Allowances, origin: Instant, file: QuotaFile, written: Usages) -> Self {
        let policy = |owner, allowance| Policy::new(owner, allowance).map(Arc::new);
        let named = |owner, allowances: &std::collections::BTreeMap<String, _>| {
            allowances.iter().map(|(name, own)| (name.as_str().into(), policy(owner, *own))).collect()
        };
        Self {
            origin,
            global: allowances.global_rate.map(|rate| Global {
                rate,
                pace: Pace::new(rate),
                bucket: AtomicU64::new(0),
            }),
            tenant: policy(Owner::Tenant, allowances.tenant),
            named_tenants: named(Owner::Tenant, &allowances.tenants),
            agent: policy(Owner::Agent, allowances.agent),
            named_agents: named(Owner::Agent, &allowances.agents),
            accounts: Table::new(MOST_TENANTS),
            agents: RwLock::default(),
            file,
            written: Mutex::new(written),
        }
    }

    /// The limiter of other allowances for the same process: everybody has used what he has used, and calls that run go
    /// on to count. None if nothing is limited any more; what was used is written then.
    pub(crate) fn renewed(&self, allowances: &Allowances) -> Option<Arc<Self>> {
        if allowances.is_off() {
            self.save();
            return None;
        }
        let next = Self::empty(allowances, self.origin, self.file.clone(), self.written.lock().clone());
        if let (Some(before), Some(after)) = (&self.global, &next.global)
            && before.pace == after.pace
        {
            after.bucket.store(before.bucket.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.accounts.each(|name, account| {
            if let Some(policy) = next.policy_of(name).map(Arc::clone) {
                next.accounts.get(name, true, 0, |_| false, || account.under(policy));
            }
        });
        for (package, exports) in &*self.agents.read() {
            for (export, account) in exports {
                let policy = next.agent_policy(package, export).map(Arc::clone);
                let account = match (policy, account) {
                    (None, _) => None,
                    (Some(policy), Some(account)) => Some(Arc::new(account.under(policy))),
                    (Some(policy), None) => Some(Arc::new(Account::new(policy, Usage::default()))),
                };
                next.agents.write().entry(package.clone()).or_default().insert(export.clone(), account);
            }
        }
        Some(Arc::new(next))
    }

    /// Lets a call in, or says which limit stands against it.
    pub(crate) fn enter(&self, tenant: &Arc<str>, agent: &AgentId, now: Moment) -> Result<Entry, Limited> {
        let at = self.clock(now);
        let tenant = self.tenant_account(tenant, at, now.day());
        let agent = self.agent_account(agent);
        let mut own = tenant.as_deref().map(|account| (account, account.open()));
        // Always after the tenant's, so that two calls cannot wait for each other.
        let mut agents = agent.as_deref().map(|account| (account, account.open()));

        let standing = || own.as_ref().map(|(account, state)| account.policy.standing(state, at, now));
        let by_global = |rate: Rate, wait: Duration| Limited {
            scope: Scope::GlobalRate,
            retry_after: wait,
            standing: add_global(standing(), rate, wait),
        };
        if let Some(global) = &self.global
            && let Err(wait) = global.look(at)
        {
            return Err(by_global(global.rate, wait));
        }
        let own_after = match &own {
            None => None,
            Some((account, state)) => match account.with_call(state, at, now) {
                Ok(after) => Some(after),
                Err((scope, retry_after)) => {
                    let standing = account.policy.standing(state, at, now);
                    return Err(Limited { scope, retry_after, standing });
                }
            },
        };
        let agents_after = match &agents {
            None => None,
            Some((account, state)) => match account.with_call(state, at, now) {
                Ok(after) => Some(after),
                Err((scope, retry_after)) => {
                    let standing = account.policy.add_refusal(standing(), scope, retry_after);
                    return Err(Limited { scope, retry_after, standing });
                }
            },
        };
        if let Some(global) = &self.global
            && let Err(wait) = global.take(at)
        {
            return Err(by_global(global.rate, wait));
        }
        for (opened, after) in [(&mut own, own_after), (&mut agents, agents_after)] {
            if let (Some((_, state)), Some(after)) = (opened, after) {
                **state = after;
            }
        }
        let standing = own.as_ref().map(|(account, state)| account.policy.standing(state, at, now));
        drop((own, agents));
        Ok(Entry { tenant, agent, standing })
    }

    /// Whether somebody wants to know how many tokens the calls of a tenant take.
    pub(crate) fn counts_tokens(&self, tenant: &str) -> bool {
        self.policy_of(tenant).is_some_and(|policy| policy.allowance.daily_tokens.is_some())
    }

    /// Counts tokens of a call that is over: its entry may be gone, with a caller that has left.
    pub(crate) fn charge(&self, tenant: &Arc<str>, tokens: u64, now: Moment) {
        if let Some(account) = self.tenant_account(tenant, self.clock(now), now.day()) {
            account.use_tokens(tokens, now);
        }
    }

    /// Of the limiter that counts at that time: forgets idle tenants and writes what was used, every few seconds, for
    /// ever.
    pub(crate) async fn keep(current: impl Fn() -> Option<Arc<Self>>) {
        let mut look = tokio::time::interval(LOOK);
        loop {
            look.tick().await;
            let Some(limiter) = current() else { continue };
            let looked = tokio::task::spawn_blocking(move || {
                limiter.sweep(Moment::now());
                limiter.save();
            });
            // It ends only with the process.
            drop(looked.await);
        }
    }

    /// Writes what was used today, if that has changed.
    pub(crate) fn save(&self) {
        let today = Moment::now().day();
        let mut usages = Usages::new();
        self.accounts.each(|name, account| {
            if let Some(usage) = account.usage(today) {
                usages.insert(name.to_string(), usage);
            }
        });
        let mut written = self.written.lock();
        if *written == usages {
            return;
        }
        match self.file.write(&usages) {
            Ok(()) => *written = usages,
            Err(error) => {
                tracing::error!(
                    event = "quotas_unsaved",
                    %error,
                    "what was used today would be forgotten by a restart"
                );
            }
        }
    }

    fn sweep(&self, now: Moment) {
        let (at, day) = (self.clock(now), now.day());
        self.accounts.sweep(|account| account.is_idle(at, day));
    }

    /// Nanoseconds since the beginning.
    fn clock(&self, now: Moment) -> u64 {
        u64::try_from(now.steady.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    fn policy_of(&self, tenant: &str) -> Option<&Arc<Policy>> {
        match self.named_tenants.get(tenant) {
            Some(own) => own.as_ref(),
            None => self.tenant.as_ref(),
        }
    }

    fn tenant_account(&self, tenant: &Arc<str>, at: u64, day: u64) -> Option<Arc<Account>> {
        let policy = self.policy_of(tenant)?;
        let named = self.named_tenants.contains_key(&**tenant);
        let make = || Account::new(Arc::clone(policy), Usage::default());
        Some(self.accounts.get(tenant, named, at, |account| account.is_idle(at, day), make))
    }

    fn agent_account(&self, agent: &AgentId) -> Option<Arc<Account>> {
        if self.agent.is_none() && self.named_agents.is_empty() {
            return None;
        }
        let (package, export) = (&agent.package.name, &agent.export);
        if let Some(known) = self.agents.read().get(package).and_then(|exports| exports.get(export)) {
            return known.clone();
        }
        let mut agents = self.agents.write();
        let account = agents.entry(package.clone()).or_default().entry(export.clone()).or_insert_with(|| {
            let policy = self.agent_policy(package, export)?;
            Some(Arc::new(Account::new(Arc::clone(policy), Usage::default())))
        });
        account.clone()
    }

    fn agent_policy(&self, package: &PackageName, export: &ExportId) -> Option<&Arc<Policy>> {
        let named = self.named_agents.get(format!("{package}/{export}").as_str());
        let named = named.or_else(|| self.named_agents.get(export.as_str()));
        named.unwrap_or(&self.agent).as_ref()
    }
}

impl Global {
    /// Whether a call may be taken.
    fn look(&self, at: u64) -> Result<(), Duration> {
        match Bucket(self.bucket.load(Ordering::Relaxed)).decide(self.pace, at, 1) {
            Decision::Taken(_) => Ok(()),
            Decision::Short(wait) => Err(wait),
        }
    }

    /// Takes a call; many threads do.
    fn take(&self, at: u64) -> Result<(), Duration> {
        let mut wait = Duration::ZERO;
        let taken = self.bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
            match Bucket(state).decide(self.pace, at, 1) {
                Decision::Taken(after) => Some(after.0),
                Decision::Short(short) => {
                    wait = short;
                    None
                }
            }
        });
        taken.map(drop).map_err(|_| wait)
    }
}

#[cfg(test)]
mod tests;
