"""Signed tokens and the key set that verifies them, made with openssl: what identity costs needs real ones."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ISSUER = "https://issuer.bench.example"
AUDIENCE = "par-bench"
HOURS = 12
ROLES = ("bench", "offline_access", "uma_authorization", "default-roles")


@dataclass(frozen=True)
class Issuer:
    """A key of RSA 2048 in `folder`, and its public half as a JWKS file."""

    key: Path
    jwks: Path

    @classmethod
    def make(cls, folder: Path) -> Issuer:
        """Draw the key and write both files."""
        key, jwks = folder / "key.pem", folder / "jwks.json"
        _openssl("genrsa", "-out", str(key), "2048")
        modulus = _openssl("rsa", "-in", str(key), "-noout", "-modulus").decode().strip().partition("=")[2]
        public = {"kty": "RSA", "kid": "bench", "alg": "RS256", "use": "sig", "e": "AQAB"}
        jwks.write_text(json.dumps({"keys": [{**public, "n": _base64(bytes.fromhex(modulus))}]}))
        return cls(key, jwks)

    def token(
        self,
        number: int = 0,
        tenant: str = "bench",
        issuer: str = ISSUER,
        roles: Sequence[str] = ROLES,
        ago: int = 0,
        lives: int = HOURS * 3600,
    ) -> str:
        """A token of RS256, as large as those of real providers; `number` tells it from others.

        It was made so many seconds ago, and lives so many seconds from then on.
        """
        made = int(time.time()) - ago
        claims = {
            "iss": issuer,
            "aud": AUDIENCE,
            "sub": f"service-account-{number}",
            "tenant": tenant,
            "roles": list(roles),
            "scope": "openid profile email",
            "iat": made,
            "exp": made + lives,
            "jti": f"{number:032x}",
            "session_state": "x" * 200,
        }
        head = _json({"alg": "RS256", "kid": "bench", "typ": "JWT"})
        text = f"{head}.{_json(claims)}"
        signature = _openssl("dgst", "-sha256", "-sign", str(self.key), stdin=text.encode())
        return f"{text}.{_base64(signature)}"


def _json(value: Any) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _openssl(*words: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *words], input=stdin, capture_output=True, check=True).stdout
