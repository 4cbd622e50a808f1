//! Which port a request came to.

/// The ports that the edge answers on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// The main port: everything over HTTP.
    Http,
    /// A port for the UI of the one package, at its root.
    #[expect(dead_code, reason = "made where the process serves one package")]
    Ui {
        /// Its number.
        port: u16,
    },
}
