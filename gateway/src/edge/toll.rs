//! What a call has to pass before its body is read: room for its record, rates, calls at once, quotas of the day.

use std::sync::Arc;

use par_proto::ids::AgentId;
use pingora_proxy::Session;

use super::{Edge, ctx::Ctx, refusal::Refusal, unread};
use crate::{
    limit::{Limited, Moment},
    meter::Surface,
};

impl Edge {
    /// Lets a call in and keeps its entry with the request, or refuses it. A refusal reads no more of the body than
    /// keeps the connection usable. Gives the tenant on whose account the call goes.
    pub(super) async fn enter(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        agent: &AgentId,
        surface: Surface,
    ) -> Result<Arc<str>, Refusal> {
        let tenant = Self::tenant(ctx);
        if let Err(refusal) = self.metered() {
            return Err(if Box::pin(unread::drain(session)).await { refusal } else { refusal.closing() });
        }
        let limiter = self.live.load().limiter.clone();
        let Some(limiter) = limiter else {
            ctx.charge = self.owing(ctx, &tenant, surface);
            return Ok(tenant);
        };
        match limiter.enter(&tenant, agent, Moment::now()) {
            Ok(mut entry) => {
                ctx.standing = entry.take_standing();
                ctx.entry = Some(entry);
                ctx.charge = self.owing(ctx, &tenant, surface);
                Ok(tenant)
            }
            Err(Limited { scope, retry_after, standing }) => {
                ctx.standing = Some(standing);
                ctx.limited = Some(scope);
                let refusal = Refusal::new(scope.code(), scope.detail()).retry_after(retry_after);
                Err(if Box::pin(unread::drain(session)).await { refusal } else { refusal.closing() })
            }
        }
    }
}
