//! Which surface of which package a request is for, and whether it may be: packages are found by any of their ids, are
//! as secret as the most secret of their agents, and have only the surfaces that they declare.

use std::sync::Arc;

use http::Method;
use par_pool::{fleet::Mount, package::UiSurface};
use par_proto::code::Code;
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use super::{Edge, admit::Plan, ctx::Ctx, premises::Premises, refusal::Refusal};
use crate::route::{Layout, Place, Target, below};

/// What tells a page where the REST surface is; next to the UI and where the REST surface begins.
const CONFIG: &str = "/ui-config.json";

/// A path in a surface of a package.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) mount: Arc<Mount>,
    pub(super) premises: Arc<Premises>,
    /// Length of the path's begin that names the package.
    pub(super) prefix: usize,
    /// Where the path in the surface begins.
    pub(super) rest: usize,
}

impl Edge {
    /// A package, if the caller may know of it.
    pub(super) fn package(
        &self,
        ctx: &mut Ctx,
        mount: Option<&Arc<Mount>>,
        id: &str,
    ) -> Result<(Arc<Mount>, Arc<Premises>), Refusal> {
        let (mount, premises) = self.visible(mount).ok_or_else(|| self.unknown(id))?;
        self.permit_all(ctx, &premises)?;
        ctx.premises = Some(Arc::clone(&premises));
        Ok((mount, premises))
    }

    fn visible(&self, mount: Option<&Arc<Mount>>) -> Option<(Arc<Mount>, Arc<Premises>)> {
        let mount = mount?;
        let premises = Premises::of(mount, &self.metrics);
        (!premises.is_private).then(|| (Arc::clone(mount), premises))
    }

    /// The REST surface, or what stands in its place: `ui-config.json`, the UI of a package with a base path of its own,
    /// the description of the runtime at an empty root.
    pub(super) fn rest_surface(
        &self,
        ctx: &mut Ctx,
        mount: Option<&Arc<Mount>>,
        place: &Place<'_>,
        head: &RequestHeader,
    ) -> Result<Plan, Refusal> {
        let declared = mount.map(|mount| &mount.package().surfaces);
        let is_served = declared.is_some_and(|surfaces| surfaces.rest.is_some() || surfaces.a2a.is_some());
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        if !is_served && is_read && place.prefix.is_empty() && place.rest == "/" {
            return Ok(Plan::Control { strip: 0 });
        }
        if let Some(ui) = declared.and_then(|surfaces| surfaces.ui.as_ref())
            && let Some(rest) = based(ui, place.rest)
        {
            return self.ui_surface(ctx, mount, &Place { rest, ..place.clone() }, head).map(Plan::Page);
        }
        let (mount, premises) = self.package(ctx, mount, &place.id)?;
        if !is_served {
            return Err(self.nothing(&mount, place));
        }
        Ok(Plan::Rest(spot(mount, premises, place, head)))
    }

    /// A file of the UI. Of a public one everybody may have it.
    pub(super) fn ui_surface(
        &self,
        ctx: &mut Ctx,
        mount: Option<&Arc<Mount>>,
        place: &Place<'_>,
        head: &RequestHeader,
    ) -> Result<Spot, Refusal> {
        let (mount, premises) = match self.visible(mount) {
            Some((mount, premises)) if is_public(&mount) => {
                ctx.premises = Some(Arc::clone(&premises));
                (mount, premises)
            }
            Some(_) | None => self.package(ctx, mount, &place.id)?,
        };
        if mount.package().surfaces.ui.is_none() {
            return Err(self.nothing(&mount, place));
        }
        Ok(spot(mount, premises, place, head))
    }

    /// Whether a request that nobody has proved to be somebody's is for a file of a public UI.
    pub(super) fn is_open(&self, session: &Session) -> bool {
        let directory = self.pool.directory();
        let Target::Ui(place) = self.target(session.req_header(), &directory) else { return false };
        self.visible(directory.package(&place.id, Some(b""))).is_some_and(|(mount, _)| is_public(&mount))
    }

    /// The base path of the one package, for pages on a port of their own.
    pub(super) fn base(&self) -> &str {
        match &*self.layout {
            Layout::Host => "",
            Layout::Single(single) => &single.base,
        }
    }

    fn nothing(&self, mount: &Mount, place: &Place<'_>) -> Refusal {
        if let Some(rest) = place.rest.strip_suffix("/invoke") {
            // An agent was meant, and the package has no application that could mean something else.
            return Refusal::new(Code::AgentNotFound, format!("there is no agent \"{}{rest}\"", place.id));
        }
        let hint = match mount.package().main_export {
            Some(_) if matches!(*self.layout, Layout::Host) => {
                format!("; call it at {}/invoke", place.prefix)
            }
            Some(_) | None => String::new(),
        };
        Refusal::new(Code::NotFound, format!("{:?} has nothing at this path{hint}", &*place.id))
    }
}

fn is_public(mount: &Mount) -> bool {
    mount.package().surfaces.ui.as_ref().is_some_and(|ui| ui.public)
}

/// What of a UI a path in the REST surface names: its configuration, or a file below its own base path.
fn based<'a>(ui: &UiSurface, rest: &'a str) -> Option<&'a str> {
    if rest == CONFIG {
        return Some(rest);
    }
    let base = ui.base_path.trim_end_matches('/');
    let within = below(rest, base).filter(|_| !base.is_empty())?;
    below(within, "/ui")
}

fn spot(mount: Arc<Mount>, premises: Arc<Premises>, place: &Place<'_>, head: &RequestHeader) -> Spot {
    let rest = head.uri.path().len().saturating_sub(place.rest.len());
    Spot { mount, premises, prefix: place.prefix.len(), rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ui_with_a_base_path_is_found_below_it_too() {
        let ui = |base: &str| UiSurface { path: "ui".to_owned(), base_path: base.to_owned(), public: false };
        for (base, rest, wanted) in [
            ("/", "/ui-config.json", Some("/ui-config.json")),
            ("/app", "/ui-config.json", Some("/ui-config.json")),
            ("/app", "/app/ui/x.js", Some("/x.js")),
            ("/app", "/app/ui", Some("")),
            ("/app", "/app/uix", None),
            ("/app", "/apps/ui/x", None),
            ("/app", "/api/x", None),
            ("/", "/api/ui/x", None),
        ] {
            assert_eq!(based(&ui(base), rest), wanted, "{base} {rest}");
        }
    }
}
