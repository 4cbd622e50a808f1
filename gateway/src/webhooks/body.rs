//! What a receiver reads. Pure: an event enters, its JSON leaves.
//!
//! `{"type":"package.updated","timestamp":"…","data":{…}}`, where `data` always has `package`, and besides:
//!
//! | type | `data` |
//! |---|---|
//! | `package.mounted` | `package_id version digest generation agents`: what serves now |
//! | `package.updated` | the same, and `former`: the id of what served before |
//! | `package.rolled_back` | the same, `former`, and `reason` |
//! | `package.failed` | `source step detail`, and `package_id version` of what failed if its manifest could be read |
//! | `package.unmounted` | `former`, `reason` |
//! | `agent.enabled`, `agent.disabled` | `package_id version`, and `agents` with the one that was switched |

use par_pool::fleet::{Event, EventKind, Live};
use par_proto::ids::PackageId;
use serde_json::{Map, Value, json};

use crate::observe::timestamp;

/// The body of the event's letter.
pub(super) fn of(event: &Event) -> Vec<u8> {
    let body = json!({
        "type": event.kind.name(),
        "timestamp": timestamp::text(event.at),
        "data": data(event),
    });
    body.to_string().into_bytes()
}

fn data(event: &Event) -> Value {
    let mut data = Data::default();
    data.put("package", event.package.as_str());
    match &event.kind {
        EventKind::Mounted { live } => data.live(live),
        EventKind::Updated { live, former } => {
            data.live(live);
            data.put("former", former.to_string());
        }
        EventKind::Failed { source, id, step, detail } => {
            if let Some(id) = id {
                data.id(id);
            }
            data.put("source", source.as_str());
            data.put("step", step.text());
            data.put("detail", detail.as_str());
        }
        EventKind::RolledBack { live, former, reason } => {
            data.live(live);
            data.put("former", former.to_string());
            data.put("reason", reason.as_str());
        }
        EventKind::Unmounted { former, reason } => {
            data.put("former", former.to_string());
            data.put("reason", reason.as_str());
        }
        EventKind::Switched { agent, enabled: _ } => {
            data.id(&agent.package);
            data.put("agents", json!([agent]));
        }
    }
    Value::Object(data.0)
}

/// The fields, in the order in which they are written.
#[derive(Default)]
struct Data(Map<String, Value>);

impl Data {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn id(&mut self, id: &PackageId) {
        self.put("package_id", id.to_string());
        self.put("version", id.version.as_str());
    }

    fn live(&mut self, live: &Live) {
        self.id(&live.id);
        self.put("digest", live.digest.to_string());
        self.put("generation", live.generation);
        self.put("agents", json!(live.agents));
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use par_pool::package::Step;

    use super::*;

    fn live() -> Live {
        Live {
            id: "billing@2.0".parse().unwrap(),
            digest: "ab".repeat(32).parse().unwrap(),
            generation: 7,
            agents: vec!["billing@2.0/sum".parse().unwrap(), "billing@2.0/tax".parse().unwrap()],
        }
    }

    #[test]
    fn each_kind_of_event_has_its_fields() {
        let (former, id): (PackageId, PackageId) =
            ("billing@1.0".parse().unwrap(), "billing@2.0".parse().unwrap());
        let (digest, reason) = ("ab".repeat(32), "asked for".to_owned());
        let agents = json!(["billing@2.0/sum", "billing@2.0/tax"]);
        let serving = json!({
            "package": "billing", "package_id": "billing@2.0", "version": "2.0", "digest": digest,
            "generation": 7, "agents": agents,
        });
        let with = |more: Value| {
            let mut data = serving.as_object().unwrap().clone();
            data.extend(more.as_object().unwrap().clone());
            Value::Object(data)
        };
        let failed = |id: Option<PackageId>| EventKind::Failed {
            source: "https://host/b.apkg".to_owned(),
            id,
            step: Step::Verify,
            detail: "a \"wrong\" digest".to_owned(),
        };
        let failure =
            json!({"source": "https://host/b.apkg", "step": "verify", "detail": "a \"wrong\" digest"});
        let mut known = json!({"package": "billing", "package_id": "billing@2.0", "version": "2.0"});
        let mut unknown = json!({"package": "billing"});
        for data in [&mut known, &mut unknown] {
            data.as_object_mut().unwrap().extend(failure.as_object().unwrap().clone());
        }
        let switched = json!({
            "package": "billing", "package_id": "billing@2.0", "version": "2.0", "agents": ["billing@2.0/sum"],
        });
        let switch = |enabled| EventKind::Switched { agent: "billing@2.0/sum".parse().unwrap(), enabled };
        for (kind, name, wanted) in [
            (EventKind::Mounted { live: live() }, "package.mounted", serving.clone()),
            (
                EventKind::Updated { live: live(), former: former.clone() },
                "package.updated",
                with(json!({"former": "billing@1.0"})),
            ),
            (
                EventKind::RolledBack { live: live(), former: former.clone(), reason: reason.clone() },
                "package.rolled_back",
                with(json!({"former": "billing@1.0", "reason": "asked for"})),
            ),
            (failed(Some(id)), "package.failed", known),
            (failed(None), "package.failed", unknown),
            (
                EventKind::Unmounted { former, reason },
                "package.unmounted",
                json!({"package": "billing", "former": "billing@1.0", "reason": "asked for"}),
            ),
            (switch(true), "agent.enabled", switched.clone()),
            (switch(false), "agent.disabled", switched),
        ] {
            let at = SystemTime::UNIX_EPOCH + Duration::from_millis(951_782_399_007);
            let body = of(&Event { package: "billing".to_owned(), at, kind });
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(
                body,
                json!({"type": name, "timestamp": "2000-02-28T23:59:59.007Z", "data": wanted}),
                "{name}"
            );
        }
    }
}
