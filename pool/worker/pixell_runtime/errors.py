"""Errors that agents can meet when they use this package.

Enters: nothing. Leaves: exception classes.
"""

from __future__ import annotations

from typing import Any


class PixellError(Exception):
    """Base of all errors that `pixell_runtime` raises into agents."""


class RuntimeUnavailable(PixellError):
    """The host does not serve what was asked for."""


class CallFailed(PixellError):
    """A call to another agent has no result.

    `code` is one of the host's error codes: `agent_error` if the other agent raised, `agent_not_found`,
    `forbidden`, `input_invalid`, `queue_full`, `deadline_exceeded` and so on.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        error: dict[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
        retry_after: float | None = None,
    ) -> None:
        raised = f" ({error.get('type')}: {error.get('message')})" if error else ""
        super().__init__(f"{code}: {detail}{raised}")
        self.code = code
        self.detail = detail
        #: What the other agent raised: `{"type", "message"}`.
        self.error = error
        #: Where the input does not fit: `[{"path", "message", "schema_path"}]`.
        self.errors = errors
        #: Seconds after which another try makes sense.
        self.retry_after = retry_after

    @classmethod
    def of(cls, said: dict[str, Any]) -> CallFailed:
        """From what the host says."""
        return cls(
            said.get("code", "internal"),
            said.get("detail", ""),
            error=said.get("error"),
            errors=said.get("errors"),
            retry_after=said.get("retry_after"),
        )
