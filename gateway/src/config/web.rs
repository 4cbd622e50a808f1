//! What pages of other origins may do (Cross-Origin Resource Sharing, the Fetch standard §3.2).

use http::HeaderValue;

/// Origins that may call, and how. Only made if there are any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cors {
    /// Exact origins, `https://app.example`; none if all may.
    pub(crate) origins: Option<Vec<String>>,
    /// `Access-Control-Allow-Methods`.
    pub(crate) methods: HeaderValue,
    /// `Access-Control-Allow-Headers`.
    pub(crate) headers: HeaderValue,
    /// Whether the browser may send its cookies and certificates.
    pub(crate) credentials: bool,
    /// `Access-Control-Max-Age`, seconds.
    pub(crate) max_age: HeaderValue,
}
