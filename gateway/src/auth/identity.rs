//! The chain of authenticators, and what is remembered of their answers: the evidence of a request enters,
//! its caller leaves.
//!
//! Tokens are remembered by their SHA-256 behind a secret of this process, never themselves. Two tokens with
//! one hash would be one caller, so the hash must be safe against whoever can choose tokens: a fast 64 bit
//! hash is not, and a keyed 128 bit one only as long as its key is. SHA-256 needs no such argument and costs
//! less than 1 µs for 1 KiB with the instructions that processors have for it (ring uses them). The secret
//! makes what lies in memory useless to somebody who guesses tokens.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::header::AUTHORIZATION;
use quick_cache::sync::Cache;
use ring::digest;

use super::{
    Accounts, AuthFault, AuthMetrics, Authenticator, Caller, Evidence, Proof, Reason,
    metrics::Outcome,
    token::{KeyLife, LONGEST_TOKEN, parse},
};

/// Refused tokens that are remembered. A flood of one bad token, or of this many, costs no signature checks;
/// with more, each costs one as without.
const REFUSED: usize = 1024;

/// How long a refusal is remembered. Keys and clocks that caused it by mistake are forgiven within it.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// What stands for a token.
type Print = [u8; 32];

/// Who calls, by whatever is configured.
#[derive(Debug)]
pub(crate) struct Identity {
    chain: Vec<Arc<dyn Authenticator>>,
    proved: Cache<Print, Proved>,
    refused: Cache<Print, Refused>,
    hash: Hash,
    metrics: AuthMetrics,
    accounts: Option<Arc<Accounts>>,
}

/// A proof that is remembered.
#[derive(Debug, Clone)]
struct Proved {
    caller: Arc<Caller>,
    until: SystemTime,
    key: Option<KeyLife>,
}

impl Proved {
    fn holds(&self, now: SystemTime) -> bool {
        now < self.until && self.key.as_ref().is_none_or(KeyLife::goes_on)
    }
}

/// A refusal that is remembered.
#[derive(Debug, Clone)]
struct Refused {
    reason: Reason,
    detail: Arc<str>,
    until: Instant,
}

impl Identity {
    /// Asks `chain` in order and remembers up to `cached` tokens.
    pub(crate) fn new(chain: Vec<Arc<dyn Authenticator>>, cached: usize, metrics: AuthMetrics) -> Self {
        Self {
            chain,
            proved: Cache::new(cached.max(1)),
            refused: Cache::new(REFUSED),
            hash: Hash::new(),
            metrics,
            accounts: None,
        }
    }

    /// Another chain that counts in the same metrics. Nothing is remembered of this one: it may have believed whom the
    /// other one does not.
    pub(crate) fn renewed(&self, chain: Vec<Arc<dyn Authenticator>>, cached: usize) -> Self {
        Self::new(chain, cached, self.metrics.clone()).noting(self.accounts.clone())
    }

    /// Notes there whose customers tenants are, as tokens say.
    pub(crate) fn noting(self, accounts: Option<Arc<Accounts>>) -> Self {
        Self { accounts, ..self }
    }

    /// The caller of a token that was proved before and still counts: it is not over, and the key that proved
    /// it is still in use. Looks at nothing else of the request.
    pub(crate) fn recall(&self, token: &str) -> Option<Arc<Caller>> {
        if token.len() > LONGEST_TOKEN {
            return None;
        }
        self.recalled(&self.hash.of(token))
    }

    fn recalled(&self, print: &Print) -> Option<Arc<Caller>> {
        let proved = self.proved.get(print)?;
        if !proved.holds(SystemTime::now()) {
            self.proved.remove(print);
            return None;
        }
        self.metrics.count(Outcome::Cached);
        Some(proved.caller)
    }

    /// Who calls. The first authenticator that knows it decides; whoever says that it is wrong ends the
    /// search. One that does not answer is passed over, but then only a proof counts: what nobody else takes
    /// may be its own.
    pub(crate) async fn identify(&self, evidence: &Evidence<'_>) -> Result<Arc<Caller>, AuthFault> {
        if evidence.headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
            let fault = AuthFault::refused(Reason::Ambiguous, "several Authorization headers");
            return Err(self.counted(fault));
        }
        if evidence.token.is_some_and(|token| token.len() > LONGEST_TOKEN) {
            let fault = AuthFault::refused(Reason::Malformed, "longer than tokens are");
            return Err(self.counted(fault));
        }
        let print = evidence.token.map(|token| self.hash.of(token));
        if let Some(caller) = print.and_then(|print| self.recalled(&print)) {
            return Ok(caller);
        }
        // With a certificate, the token alone does not decide, so what is remembered of it does not either.
        let alone = print.filter(|_| evidence.certificate.is_none());
        if let Some(fault) = alone.and_then(|print| self.refused_before(&print)) {
            return Err(self.counted(fault));
        }
        match self.ask(evidence).await {
            Ok(proof) => {
                self.metrics.count(Outcome::Proved);
                if let Some(accounts) = &self.accounts {
                    accounts.note(&proof.caller);
                }
                if let Some(print) = print {
                    self.remember(print, &proof);
                }
                Ok(proof.caller)
            }
            Err(fault) => {
                if let Some(print) = alone {
                    self.remember_refusal(print, &fault);
                }
                Err(self.counted(fault))
            }
        }
    }

    async fn ask(&self, evidence: &Evidence<'_>) -> Result<Proof, AuthFault> {
        let mut unavailable = None;
        for authenticator in &self.chain {
            match authenticator.authenticate(evidence).await {
                Ok(Some(proof)) => return Ok(proof),
                Ok(None) => {}
                Err(fault @ AuthFault::Unavailable { .. }) => unavailable = unavailable.or(Some(fault)),
                Err(fault @ AuthFault::Refused { .. }) => return Err(unavailable.unwrap_or(fault)),
            }
        }
        Err(unavailable.unwrap_or_else(|| nobodys(evidence.token)))
    }

    fn remember(&self, print: Print, proof: &Proof) {
        let Some(until) = proof.remember_until else { return };
        let proved = Proved { caller: Arc::clone(&proof.caller), until, key: proof.key.clone() };
        if proved.holds(SystemTime::now()) {
            self.proved.insert(print, proved);
        }
    }

    fn refused_before(&self, print: &Print) -> Option<AuthFault> {
        let Refused { reason, detail, until } = self.refused.get(print)?;
        if Instant::now() < until {
            return Some(AuthFault::refused(reason, &*detail));
        }
        self.refused.remove(print);
        None
    }

    fn remember_refusal(&self, print: Print, fault: &AuthFault) {
        match fault {
            AuthFault::Refused { reason, detail } if lies_in_the_token(*reason) => {
                let until = Instant::now() + REFUSED_FOR;
                self.refused
                    .insert(print, Refused { reason: *reason, detail: detail.as_str().into(), until });
            }
            AuthFault::Refused { .. } | AuthFault::Unavailable { .. } => {}
        }
    }

    fn counted(&self, fault: AuthFault) -> AuthFault {
        self.metrics.count(match &fault {
            AuthFault::Refused { reason, .. } => Outcome::Refused(*reason),
            AuthFault::Unavailable { .. } => Outcome::Unavailable,
        });
        fault
    }
}

/// Why nobody took it.
fn nobodys(token: Option<&str>) -> AuthFault {
    match token.map(parse) {
        None => AuthFault::refused(Reason::Missing, "nothing was shown"),
        Some(Ok(_)) => AuthFault::refused(Reason::Issuer, "issued by nobody who is known here"),
        Some(Err(fault)) => fault,
    }
}

/// Whether the token will be refused again, whatever else the request shows and whatever keys come.
const fn lies_in_the_token(reason: Reason) -> bool {
    match reason {
        Reason::Malformed
        | Reason::Algorithm
        | Reason::Header
        | Reason::Signature
        | Reason::Issuer
        | Reason::Audience
        | Reason::Expired
        | Reason::Claims => true,
        Reason::Missing | Reason::UnknownKey | Reason::NotYet | Reason::Inactive | Reason::Ambiguous => false,
    }
}

/// SHA-256 behind a secret.
#[derive(Clone)]
struct Hash(digest::Context);

impl Hash {
    /// One block of secret, taken in once. Without randomness of the system it is SHA-256 and no worse than
    /// that.
    fn new() -> Self {
        let mut secret = [0; 64];
        getrandom::fill(&mut secret).ok();
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&secret);
        Self(context)
    }

    fn of(&self, token: &str) -> Print {
        let mut context = self.0.clone();
        context.update(token.as_bytes());
        let mut print = [0; 32];
        // SHA-256 has 32 bytes, so both are of one length.
        print.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        print
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash(…)")
    }
}

#[cfg(test)]
mod tests;
