//! The algorithms that a token may be signed with (RFC 7518, 8037).

use std::{fmt, str::FromStr};

macro_rules! algorithms {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// How a token is signed. `none` is not among them, in no spelling: names are compared exactly.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Algorithm { $($(#[$doc])* $name,)* }

        impl Algorithm {
            /// Every algorithm once.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name, as the header of a token has it.
            pub(crate) const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The same, as the library calls it.
            pub(super) const fn library(self) -> jsonwebtoken::Algorithm {
                match self { $(Self::$name => jsonwebtoken::Algorithm::$name,)* }
            }
        }
    };
}

algorithms! {
    /// RSA, PKCS #1 1.5, SHA-256.
    RS256 = "RS256";
    /// RSA, PKCS #1 1.5, SHA-384.
    RS384 = "RS384";
    /// RSA, PKCS #1 1.5, SHA-512.
    RS512 = "RS512";
    /// RSA, PSS, SHA-256.
    PS256 = "PS256";
    /// RSA, PSS, SHA-384.
    PS384 = "PS384";
    /// RSA, PSS, SHA-512.
    PS512 = "PS512";
    /// ECDSA on P-256, SHA-256.
    ES256 = "ES256";
    /// ECDSA on P-384, SHA-384.
    ES384 = "ES384";
    /// Ed25519.
    EdDSA = "EdDSA";
    /// HMAC, SHA-256: whoever verifies can also sign.
    HS256 = "HS256";
    /// HMAC, SHA-384.
    HS384 = "HS384";
    /// HMAC, SHA-512.
    HS512 = "HS512";
}

impl Algorithm {
    /// Those whose keys may be public: the allow-list of an issuer.
    pub(crate) const ASYMMETRIC: &'static [Self] = &[
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// Whether the key that verifies also signs.
    pub(crate) const fn is_symmetric(self) -> bool {
        match self {
            Self::HS256 | Self::HS384 | Self::HS512 => true,
            Self::RS256
            | Self::RS384
            | Self::RS512
            | Self::PS256
            | Self::PS384
            | Self::PS512
            | Self::ES256
            | Self::ES384
            | Self::EdDSA => false,
        }
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|algorithm| algorithm.text() == text);
        found.copied().ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|algorithm| algorithm.text()).collect();
            format!("is not one of {}", known.join(", "))
        })
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
