"""BentoML with two workers."""

from __future__ import annotations

import bentoml


@bentoml.service(workers=2, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Echo:
    """Body in, the same out."""

    @bentoml.api(route="/echo")
    def echo(self, message: str, n: int) -> dict:
        """One call; batching is off."""
        return {"message": message, "n": n}
