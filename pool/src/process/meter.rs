//! What calls have used, told to whoever charges for it: at the end of the call and not at that of its caller, who may
//! have left long before.

use std::{fmt::Debug, sync::Arc};

use super::reply::Reply;

/// Charges tenants.
pub trait Meter: Debug + Send + Sync {
    /// A call has ended, in whatever way. `meta` is the metadata of its last frame, never empty: a JSON object whose
    /// `usage`, if there is one, says what it has used (`FRAMES.md`).
    fn charge(&self, tenant: &Arc<str>, meta: &[u8]);
}

/// Whose call it is, and who charges for it.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) meter: Arc<dyn Meter>,
    pub(crate) tenant: Arc<str>,
}

impl Account {
    /// A call has ended.
    pub(crate) fn settle(&self, reply: &Reply) {
        if let Some(meta) = reply.used() {
            self.meter.charge(&self.tenant, meta);
        }
    }
}

impl Reply {
    /// Metadata that may say what the call has used; almost no call has any.
    pub(crate) fn used(&self) -> Option<&[u8]> {
        let meta = match self {
            Self::Done { meta, .. }
            | Self::Failed { meta, .. }
            | Self::Ended { meta, .. }
            | Self::Cancelled { meta, .. } => meta,
            Self::Returned | Self::Died(_) => return None,
        };
        (!meta.is_empty()).then_some(&**meta)
    }
}
