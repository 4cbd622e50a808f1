"""What is asked, what the right answer is, and what a session must have counted. Pure."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .outcomes import OK, UNANSWERED, Ask

MODULUS = 1_000_003
EDGE = "----------edge"
# How often each is asked, of a hundred; what a session is asked comes from its own caller.
WEIGHTS: dict[Ask, int] = {
    Ask.ADD: 45,
    Ask.LATER: 20,
    Ask.NESTED: 10,
    Ask.ITEMS: 10,
    Ask.DIGEST: 5,
    Ask.HUNGRY: 4,
    Ask.FORGED: 3,
    Ask.FORBIDDEN: 3,
}
AGENTS: dict[Ask, str] = {
    Ask.ADD: "add",
    Ask.LATER: "later",
    Ask.NESTED: "nested",
    Ask.ITEMS: "items",
    Ask.COUNT: "count",
    Ask.DIGEST: "digest",
    Ask.HUNGRY: "hungry",
    Ask.FORGED: "add",
    Ask.FORBIDDEN: "add",
}


@dataclass(frozen=True)
class Call:
    """One request, before it is sent. `nonce` is its id and comes back in its answer."""

    nonce: str
    ask: Ask
    tenant: str
    numbers: tuple[int, ...]
    session: str = ""

    @property
    def path(self) -> str:
        """Where it goes."""
        return f"/agents/{AGENTS[self.ask]}/invoke"

    @property
    def document(self) -> bytes:
        """The file of a form."""
        return " ".join(map(str, self.numbers)).encode()

    def body(self) -> tuple[str, bytes]:
        """Its content type and content."""
        if self.ask is Ask.DIGEST:
            fields = f'--{EDGE}\r\nContent-Disposition: form-data; name="nonce"\r\n\r\n{self.nonce}\r\n'
            head = f'--{EDGE}\r\nContent-Disposition: form-data; name="doc"; filename="doc.txt"\r\n\r\n'
            content = (fields + head).encode() + self.document + f"\r\n--{EDGE}--\r\n".encode()
            return f"multipart/form-data; boundary={EDGE}", content
        return "application/json", json.dumps({"nonce": self.nonce, "numbers": self.numbers}).encode()


@dataclass(frozen=True)
class Seen:
    """One request and what became of it; times are seconds of the run."""

    call: Call
    sent: float
    received: float
    status: int
    code: str
    # What is wrong with an answer of 200: its content, or whom it is for.
    wrong: str = ""
    stranger: str = ""
    release: int = -1
    count: int = 0


def draw(dice: random.Random, nonce: str, tenants: Sequence[str]) -> Call:
    """The next request that belongs to no session."""
    (ask,) = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))
    numbers = tuple(dice.randrange(MODULUS) for _ in range(dice.randint(1, 20)))
    return Call(nonce, ask, dice.choice(tenants), numbers)


def value(call: Call) -> Any:
    """What the agents compute."""
    if call.ask is Ask.DIGEST:
        return hashlib.sha256(call.document).hexdigest()
    if call.ask is Ask.ITEMS:
        return list(call.numbers)
    return sum(number * number for number in call.numbers) % MODULUS


def judge(call: Call, sent: float, received: float, status: int, body: bytes) -> Seen:
    """An answer that has come to its end."""
    if status != 200:
        return Seen(call, sent, received, status, _code(body))
    try:
        parts = _parts(call, body)
        last = parts[-1]
        code = str(last["$error"]["code"]) if "$error" in last else OK
        items = parts[:-1] if code != OK else parts
        stranger = next((text for part in items if (text := _stranger(call, part))), "")
        wrong = "" if code != OK else _wrong(call, items)
        release, count = int(last.get("release", -1)), int(last.get("count", 0))
    except (ValueError, LookupError, TypeError):
        return Seen(call, sent, received, status, OK, wrong=f"not what was asked for: {body[:200]!r}")
    return Seen(call, sent, received, status, code, wrong, stranger, release, count)


def _parts(call: Call, body: bytes) -> list[Mapping[str, Any]]:
    """An answer, or the items of one; a last one that is an error ends them."""
    parts = [json.loads(line) for line in body.splitlines()] if call.ask is Ask.ITEMS else [json.loads(body)]
    if not all(isinstance(part, dict) for part in parts):
        raise TypeError
    return parts


def _stranger(call: Call, part: Mapping[str, Any]) -> str:
    """For whom else it is, if it is."""
    got = (part.get("nonce"), part.get("tenant"))
    if got == (call.nonce, call.tenant):
        return ""
    return f"asked as {call.nonce} of {call.tenant}, got {got[0]} of {got[1]}"


def _wrong(call: Call, items: Sequence[Mapping[str, Any]]) -> str:
    """In what the content is wrong, if it is."""
    right = value(call)
    got = [item["number"] for item in items] if call.ask is Ask.ITEMS else items[0].get("value")
    return "" if got == right else f"{right!r} was right, got {got!r}"


def _code(body: bytes) -> str:
    try:
        told = json.loads(body)
        return str(told["code"])
    except (ValueError, KeyError, TypeError):
        return f"no problem document: {body[:100]!r}"


@dataclass
class Session:
    """What a session must have counted: each of its calls that was answered, and perhaps those that were not."""

    name: str
    tenant: str
    low: int = 0
    high: int = 0
    # Whether its end may have been told to somebody who never got the answer.
    may_be_new: bool = False

    def learn(self, seen: Seen) -> str:
        """One more answer; the text says what is wrong with it."""
        if seen.code == OK:
            fine = self.low < seen.count <= self.high + 1 or (self.may_be_new and seen.count == 1)
            text = "" if fine else f"{self.name}: {self.low}..{self.high} were counted, then {seen.count}"
            self.low = self.high = seen.count
            self.may_be_new = False
            return text
        if seen.code in ("session_lost", "session_expired"):
            self.low = self.high = 0
            self.may_be_new = False
        elif seen.code in UNANSWERED:
            self.high += 1
            self.may_be_new = True
        elif seen.code in ("worker_crashed", "deadline_exceeded", "agent_error"):
            self.high += 1
        return ""
