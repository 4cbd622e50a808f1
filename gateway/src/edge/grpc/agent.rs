//! `pixell.agent.AgentService`: the service that every package has.

use std::time::{Duration, SystemTime};

use pingora_proxy::Session;

use super::{
    super::{Edge, ctx::Ctx, refusal::Refusal},
    LONGEST, SHORT, Said, no_method,
    target::Target,
};
use crate::{
    a2a::{Skill, capabilities, health_status, pong},
    auth::permit::decide,
};

/// The export of an entrypoint, as clients ask for it.
pub(super) const INVOKE: &str = "invoke";

/// The action that takes every name.
pub(super) const EVERY: &str = "*";

/// Its name in the manifest.
pub(super) const DEFAULT: &str = "default";

impl Edge {
    /// Answers a method of it.
    pub(super) async fn agent_service(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        target: &Target,
        method: &str,
    ) -> Result<Said, Refusal> {
        let answer = match method {
            "Invoke" => {
                let message = self.message(session, ctx, LONGEST).await?;
                return self.act(session, ctx, target, &message).await.map(Said::Message);
            }
            "Health" => {
                let (ok, text) = target.health();
                health_status(ok, text, now())
            }
            "Ping" => pong(now()),
            "DescribeCapabilities" => {
                let package = target.mount.package();
                let id = &target.mount.id;
                let skills = self.skills(ctx, target);
                capabilities(id.name.as_str(), id.version.as_str(), &package.description, &skills)
            }
            _ => return Err(no_method(method)),
        };
        self.message(session, ctx, SHORT).await?;
        Ok(Said::Message(answer))
    }

    /// What the caller may ask for.
    fn skills(&self, ctx: &Ctx, target: &Target) -> Vec<Skill> {
        let may = |role| decide(self.identity_on, ctx.caller.as_ref(), role).is_ok();
        let exports = target.mount.package().exports.iter();
        let open = exports.filter(|export| !export.private && may(export.role_required.as_deref()));
        let skill = |export: &par_pool::package::Export| Skill {
            id: if export.id.as_str() == DEFAULT { INVOKE.to_owned() } else { export.id.to_string() },
            name: export.name.clone(),
            description: export.description.clone(),
            tags: [],
        };
        let exports = open.map(skill);
        let actions = match target.server() {
            Some(server) if self.may_use(ctx, target) => server.facts().actions.clone(),
            Some(_) | None => Vec::new(),
        };
        let named = |id: String| Skill { name: id.clone(), id, description: String::new(), tags: [] };
        let actions: Vec<Skill> = actions.into_iter().filter(|action| action != EVERY).map(named).collect();
        let others =
            exports.filter(|export| actions.iter().all(|action| action.id != export.id)).collect::<Vec<_>>();
        actions.into_iter().chain(others).collect()
    }

    /// Whether the caller may use what the package offers beside its agents.
    fn may_use(&self, ctx: &Ctx, target: &Target) -> bool {
        let may = |role: &str| decide(self.identity_on, ctx.caller.as_ref(), Some(role)).is_ok();
        target.premises.roles.iter().all(|role| may(role))
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
