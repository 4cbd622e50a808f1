//! What follows from an index: which version of each name is wanted, and what must be brought in or taken
//! away to get there. Pure: the poller acts.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use par_proto::ids::{Digest, PackageName, Version};
use serde::{Deserialize, Serialize};

use super::entry::{Entry, EntryFault};
use crate::fleet::compare_versions;

#[cfg(test)]
mod tests;

/// Which version of each name is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// One entry a name.
    pub wanted: BTreeMap<PackageName, Entry>,
    /// Active entries that are not served because a higher one is active too.
    pub faults: Vec<EntryFault>,
}

/// What was last wanted of a name, as far as a later index is compared with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The version.
    pub version: Version,
    /// The bytes.
    pub sha256: Digest,
    /// Whether it waits for its first call.
    pub lazy: bool,
}

/// What to do about an index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be brought in, in the order of the index.
    pub bring: Vec<Entry>,
    /// To be drained and unmounted.
    pub leave: Vec<PackageName>,
    /// Why names that are gone stay mounted, in one sentence.
    pub held: Option<String>,
    /// What is wanted from now on: `before` of the next plan.
    pub known: BTreeMap<PackageName, Known>,
}

impl From<&Entry> for Known {
    fn from(entry: &Entry) -> Self {
        Self { version: entry.version.clone(), sha256: entry.sha256, lazy: entry.lazy }
    }
}

/// Chooses one version of each name: the active one, of several active ones the highest, else the highest.
pub fn choose(entries: &[Entry]) -> Choice {
    let mut names: BTreeMap<&PackageName, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        names.entry(&entry.name).or_default().push(entry);
    }
    let mut choice = Choice::default();
    for (name, versions) in names {
        let Some(best) = versions.iter().copied().max_by(|a, b| a.active.cmp(&b.active).then(higher(a, b)))
        else {
            continue;
        };
        for other in
            versions.iter().filter(|other| best.active && other.active && other.version != best.version)
        {
            let detail = format!("version {} is active too and is higher: it serves", best.version);
            choice.faults.push(other.fault(detail));
        }
        choice.wanted.insert(name.clone(), best.clone());
    }
    choice.faults.sort_by_key(|fault| fault.position);
    choice
}

/// `1.10` and `1.10.0` are equally high; the text decides then, so that the order of the index does not.
fn higher(a: &Entry, b: &Entry) -> Ordering {
    compare_versions(&a.version, &b.version).then_with(|| a.version.as_str().cmp(b.version.as_str()))
}

/// Compares what is wanted with what was wanted `before`.
///
/// * A name is brought in when its version or its bytes are others, or when it needs no longer wait for a
///   call; with `force` always. Where the bytes are is not compared: take sources from the newest `wanted`.
/// * A name that is gone leaves. If that is more than half of several names at once, the index is more likely
///   broken than meant, and none leaves without `force`; they stay in `known`, so that the next plan says it
///   again.
/// * A name that only a faulty entry still mentions is not gone, and a version whose own entry has become
///   faulty is not replaced by a lower one: a slip in an index takes nothing away. `faults` are those of the
///   index.
pub fn plan(
    before: &BTreeMap<PackageName, Known>,
    wanted: &BTreeMap<PackageName, Entry>,
    faults: &[EntryFault],
    force: bool,
) -> Plan {
    let mut plan = Plan::default();
    let slips = Slips::of(faults);
    for (name, entry) in wanted {
        let known = before.get(name);
        if let Some(known) = known.filter(|known| slips.keep(name, known, entry)) {
            plan.known.insert(name.clone(), known.clone());
            continue;
        }
        if force || known.is_none_or(|known| differs(known, entry)) {
            plan.bring.push(entry.clone());
        }
        plan.known.insert(name.clone(), Known::from(entry));
    }
    plan.bring.sort_by_key(|entry| entry.position);
    let mut gone = BTreeMap::new();
    for (name, known) in before.iter().filter(|(name, _)| !wanted.contains_key(*name)) {
        if slips.names.contains(name.as_str()) {
            plan.known.insert(name.clone(), known.clone());
        } else {
            gone.insert(name, known);
        }
    }
    if !force && before.len() > 1 && gone.len() * 2 > before.len() {
        plan.held = Some(format!(
            "{} of {} packages are gone from the index at once; nothing is unmounted without force",
            gone.len(),
            before.len()
        ));
        plan.known.extend(gone.into_iter().map(|(name, known)| (name.clone(), known.clone())));
    } else {
        plan.leave = gone.into_keys().cloned().collect();
    }
    plan
}

fn differs(known: &Known, entry: &Entry) -> bool {
    known.version != entry.version || known.sha256 != entry.sha256 || (known.lazy && !entry.lazy)
}

/// What faulty entries mention.
struct Slips<'a> {
    names: BTreeSet<&'a str>,
    versions: BTreeSet<(&'a str, Option<&'a str>)>,
}

impl<'a> Slips<'a> {
    fn of(faults: &'a [EntryFault]) -> Self {
        let mut slips = Self { names: BTreeSet::new(), versions: BTreeSet::new() };
        for fault in faults {
            if let Some(name) = fault.name.as_deref() {
                slips.names.insert(name);
                slips.versions.insert((name, fault.version.as_deref()));
            }
        }
        slips
    }

    /// Whether `entry` is wanted only because the entry of what is known cannot be read. Somebody who made
    /// another version active means it.
    fn keep(&self, name: &PackageName, known: &Known, entry: &Entry) -> bool {
        let slipped = self.versions.contains(&(name.as_str(), Some(known.version.as_str())))
            || self.versions.contains(&(name.as_str(), None));
        slipped && !entry.active && compare_versions(&entry.version, &known.version) == Ordering::Less
    }
}
