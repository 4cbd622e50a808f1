//! What the edge keeps per package, made at the first request for one of its surfaces: its front, the roles that it
//! needs, its files.

use std::{io, sync::Arc};

use par_pool::{fleet::Mount, package::Package};
use par_proto::ids::AgentId;
use tokio::{sync::OnceCell, task::spawn_blocking};

use super::front::Front;
use crate::{observe::metrics::EdgeMetrics, ui::Site};

/// On whose account requests for the surfaces of a package without a main agent go.
const NO_AGENT: &str = "surfaces";

/// Kept in [`Mount::front`].
#[derive(Debug)]
pub(crate) struct Premises {
    pub(super) front: Arc<Front>,
    /// All of them are needed.
    pub(super) roles: Box<[Box<str>]>,
    /// Whether only other agents may know of it.
    pub(super) is_private: bool,
    /// Whose limits count.
    pub(super) account: Option<AgentId>,
    site: OnceCell<Arc<Site>>,
}

impl Premises {
    /// Those of a package.
    pub(super) fn of(mount: &Mount, metrics: &EdgeMetrics) -> Arc<Self> {
        let any = mount.front.get_or_init(|| Arc::new(Self::new(mount, metrics)));
        match Arc::clone(any).downcast::<Self>() {
            Ok(premises) => premises,
            // Nobody else fills the cell.
            Err(_) => Arc::new(Self::new(mount, metrics)),
        }
    }

    fn new(mount: &Mount, metrics: &EdgeMetrics) -> Self {
        let package = mount.package();
        let main = package.main_export.clone().or_else(|| NO_AGENT.parse().ok());
        Self {
            front: Arc::new(Front::of_package(mount, metrics)),
            roles: roles(package),
            is_private: is_private(package),
            account: main.map(|export| AgentId { package: mount.id.clone(), export }),
            site: OnceCell::new(),
        }
    }

    /// Its files; the directory is listed by whoever comes first.
    pub(super) async fn site(&self, mount: &Mount) -> io::Result<&Arc<Site>> {
        let open = || async {
            let ui = mount.package().surfaces.ui.as_ref();
            let Some(ui) = ui else { return Ok(Arc::default()) };
            let (root, base) = (mount.generation.installed.root.join(&ui.path), ui.base_path.clone());
            let opened = spawn_blocking(move || Site::open(&root, &base)).await;
            opened.map_err(io::Error::other)?.map(Arc::new)
        };
        self.site.get_or_try_init(open).await
    }
}

/// The roles that a package needs as a whole: whatever one of its agents needs. Roles have no order, so the strictest
/// one is all of them. Private agents count as well: the same code answers.
fn roles(package: &Package) -> Box<[Box<str>]> {
    let own = package.exports.iter().filter_map(|export| export.role_required.as_deref());
    let mut roles: Vec<Box<str>> = own.chain(package.role_required.as_deref()).map(Box::from).collect();
    roles.sort_unstable();
    roles.dedup();
    roles.into_boxed_slice()
}

/// A package whose agents are all private is so as well; one without agents is not.
fn is_private(package: &Package) -> bool {
    !package.exports.is_empty() && package.exports.iter().all(|export| export.private)
}
