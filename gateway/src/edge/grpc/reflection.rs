//! `grpc.reflection`: what there is to call, of the runtime and of a package that is named.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pingora_proxy::Session;
use tokio::time::timeout;

use super::{
    super::{Edge, ctx::Ctx, invoke::gone, refusal::Refusal},
    SHORT, Said, flawed, malformed, no_method, reply,
    target::Target,
};
use crate::a2a::{Flaw, Inbox, Library, reflect};

impl Edge {
    /// Answers every question of the stream, each at once.
    pub(super) async fn reflection(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        target: Option<&Target>,
        method: &str,
    ) -> Result<Said, Refusal> {
        if method != "ServerReflectionInfo" {
            return Err(no_method(method));
        }
        let library = match target.and_then(Target::server) {
            Some(server) => {
                let facts = server.facts();
                let files = facts.descriptors.iter().filter_map(|text| STANDARD.decode(text).ok());
                Cow::Owned(Library::of_package(files, &facts.services))
            }
            None => Cow::Borrowed(Library::own()),
        };
        let mut inbox = Inbox::new(SHORT);
        self.begin(session, ctx).await.map_err(|_| gone())?;
        loop {
            while let Some(request) = inbox.next().map_err(flawed)? {
                let answer = reflect(&request, &library).map_err(malformed)?;
                self.more(session, ctx, &answer).await.map_err(|_| gone())?;
            }
            let reading = session.as_downstream_mut().read_request_body();
            // Who asks nothing for so long has nothing to ask.
            let Ok(read) = timeout(self.connections.idle_timeout, reading).await else { break };
            match read.map_err(|_| gone())? {
                Some(bytes) => {
                    ctx.bytes_in += bytes.len();
                    inbox.push(&bytes);
                }
                None if inbox.is_between() => break,
                None => return Err(flawed(Flaw::Cut)),
            }
        }
        reply::finish(session, ctx).await.map_err(|_| gone())?;
        Ok(Said::Streamed)
    }
}
