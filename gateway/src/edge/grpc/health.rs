//! `grpc.health.v1.Health`: of the runtime, and of the services of a package that is named.

use std::{sync::atomic::Ordering, time::Duration};

use par_proto::code::Code;
use pingora_proxy::Session;

use super::{
    super::{Edge, ctx::Ctx, invoke::gone, invoke::left, refusal::Refusal},
    SHORT, Said, malformed, no_method,
    target::Target,
};
use crate::a2a::{Service, Serving, health_check};

/// How often somebody who watches is looked for: a load balancer that learns it later has sent calls in vain, and
/// each look costs a microsecond.
const LOOK: Duration = Duration::from_millis(250);

impl Edge {
    /// Answers a method of it.
    pub(super) async fn health(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        target: Option<&Target>,
        method: &str,
    ) -> Result<Said, Refusal> {
        if !matches!(method, "Check" | "Watch") {
            return Err(no_method(method));
        }
        let message = self.message(session, ctx, SHORT).await?;
        let service = health_check(&message).map_err(malformed)?;
        if method == "Watch" {
            self.watch(session, ctx, target, &service).await
        } else {
            self.check(target, &service)
        }
    }

    /// Answers a check that names no agent: the whole may be asked for by everybody, its parts by callers. `id` is the
    /// one package, where there is only one: its health is open as it is over HTTP.
    pub(super) async fn probe(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        id: Option<&str>,
    ) -> Result<Said, Refusal> {
        let message = self.message(session, ctx, SHORT).await?;
        let service = health_check(&message).map_err(malformed)?;
        if service.is_empty() {
            return self.check(None, "");
        }
        if let Some(id) = id {
            let target = self.reach(session, ctx, id).await?;
            return self.check(Some(&target), &service);
        }
        self.identify(session, ctx).await?;
        self.check(None, &service)
    }

    fn check(&self, target: Option<&Target>, service: &str) -> Result<Said, Refusal> {
        match self.serving(target, service) {
            Serving::Unknown => Err(Refusal::new(Code::NotFound, format!("there is no service {service:?}"))),
            serving @ (Serving::Yes | Serving::No) => Ok(Said::Message(serving.bytes())),
        }
    }

    /// Tells whenever it changes, until the client leaves or the runtime stops.
    async fn watch(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        target: Option<&Target>,
        service: &str,
    ) -> Result<Said, Refusal> {
        let mut look = tokio::time::interval(LOOK);
        let mut told = None;
        self.begin(session, ctx).await.map_err(|_| gone())?;
        loop {
            tokio::select! {
                _ = look.tick() => {}
                () = left(session) => return Err(gone()),
            }
            let leaving = self.leaving.load(Ordering::Relaxed);
            let serving = self.serving(target, service);
            if told != Some(serving) {
                self.more(session, ctx, &serving.bytes()).await.map_err(|_| gone())?;
                told = Some(serving);
            }
            if leaving {
                return Err(Refusal::new(Code::Stopping, "the runtime is stopping"));
            }
        }
    }

    fn serving(&self, target: Option<&Target>, service: &str) -> Serving {
        let is_ready = self.pool.is_settled() && !self.leaving.load(Ordering::Relaxed);
        let is_own = service.is_empty() || Service::of(service).is_some();
        match target {
            None if is_own => of(is_ready),
            Some(target) if is_own => of(is_ready && target.health().0),
            Some(target) if target.serves(service).is_some() => of(is_ready),
            // Nobody knows what it has while it is not there.
            Some(target) if target.living().is_err() => Serving::No,
            None | Some(_) => Serving::Unknown,
        }
    }
}

const fn of(serves: bool) -> Serving {
    if serves { Serving::Yes } else { Serving::No }
}
