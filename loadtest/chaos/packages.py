"""The packages that are called: releases that are good, and some that are bad in one way each."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.packages import archive
from rollout.registry import Entry

from .ends import ROLE
from .plan import BAD_RELEASES, Kind

MOVING, STILL = "moving", "still"
# Larger than what RLIMIT_AS leaves of room where memory is starved.
HUNGER = 16 << 20

MOVING_MANIFEST = """
name: {name}
version: {version}
runtime: {{python: ">=3.9"}}
role_required: {role}
session: {{mode: sticky, idle_ttl: 6s, max_ttl: 8h}}
workers: {{min: 2, max: 4}}
healthcheck:
  export: add
  input: {{nonce: health, numbers: [1, 2]}}
  expect: {{nonce: health, tenant: null, release: {release}, value: 5}}
exports:
  - {{id: add, handler: "agent:add"}}
  - {{id: later, handler: "agent:later"}}
  - {{id: items, handler: "agent:items"}}
  - {{id: count, handler: "agent:count"}}
  - {{id: digest, handler: "agent:digest"}}
  - {{id: hungry, handler: "agent:hungry"}}
"""
MOVING_CODE = '''"""Release {release}: computes, and says for whom."""

import asyncio
import hashlib

RELEASE = {release}
HUNGER = {hunger}
{imports}

def _said(nonce, context, **more):
    {calls}return {{"nonce": nonce, "tenant": (context.caller or {{}}).get("tenant"), "release": RELEASE, **more}}


def _sum(numbers):
    return sum(number * number for number in numbers) % 1_000_003


def add(input, context):
    return _said(input["nonce"], context, value=_sum(input["numbers"]){health})


async def later(input, context):
    await asyncio.sleep(0.02)
    return _said(input["nonce"], context, value=_sum(input["numbers"]))


def items(input, context):
    for number in input["numbers"]:
        yield _said(input["nonce"], context, number=number)


def count(input, context):
    state = context.session.state
    state["count"] = state.get("count", 0) + 1
    return _said(input["nonce"], context, value=_sum(input["numbers"]), count=state["count"])


def digest(*, nonce, doc, context):
    hashed = hashlib.sha256()
    for piece in doc:
        hashed.update(piece)
    return _said(nonce, context, value=hashed.hexdigest())


def hungry(input, context):
    memory = bytearray(HUNGER)
    memory[::4096] = b"x" * len(memory[::4096])
    return _said(input["nonce"], context, value=_sum(input["numbers"]))
'''
STILL_MANIFEST = """
name: {name}
version: 1.0.0
runtime: {{python: ">=3.9"}}
role_required: {role}
exports:
  - {{id: nested, handler: "agent:nested"}}
"""
STILL_CODE = '''"""Calls another package, as the same caller."""

from pixell_runtime import runtime


async def nested(input, context):
    answer = await runtime.acall("add", **input)
    if answer["tenant"] != context.caller["tenant"]:
        answer["tenant"] = "nobody"
    return answer
'''
# What a bad release does while it is imported.
IMPORTS = {
    Kind.RELEASE_IMPORT: 'raise RuntimeError("this release does not import")',
    Kind.RELEASE_CRASH: "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    Kind.RELEASE_HANG: "import time; time.sleep(3600)",
}


@dataclass(frozen=True)
class Release:
    """A version of the package that moves. Its number is the last part of the version, and in each of its answers."""

    number: int
    kind: Kind

    @property
    def version(self) -> str:
        """Higher than all before."""
        return f"1.0.{self.number}"

    @property
    def is_bad(self) -> bool:
        """Whether it must not stay."""
        return self.kind in BAD_RELEASES

    def entry(self) -> Entry:
        """It as it stands in an index."""
        return Entry(MOVING, self.version, self.content())

    def content(self) -> bytes:
        """Its bytes, always the same."""
        code = MOVING_CODE.format(
            release=self.number,
            hunger=HUNGER,
            imports=IMPORTS.get(self.kind, ""),
            health=" + 1" if self.kind is Kind.RELEASE_HEALTH else "",
            calls=(
                "if context.caller: raise RuntimeError('worse')\n    "
                if self.kind is Kind.RELEASE_WORSE
                else ""
            ),
        )
        manifest = MOVING_MANIFEST.format(name=MOVING, version=self.version, role=ROLE, release=self.number)
        return archive({"agent.yaml": manifest.encode(), "agent.py": code.encode()})


def still() -> Entry:
    """The package that stays as it is."""
    files = {
        "agent.yaml": STILL_MANIFEST.format(name=STILL, role=ROLE).encode(),
        "agent.py": STILL_CODE.encode(),
    }
    return Entry(STILL, "1.0.0", archive(files))
