"""An agent as today's SDK makes it, and the SDK's own client that streams from it, through `par`."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import TOOLS, Par, run, tool

MANIFEST = """
name: sdk-agent
version: 1.0.0
rest: {entry: "web:app"}
"""

WEB = """
import asyncio

from pixell.sdk import AgentServer, MessageContext

server = AgentServer(agent_id="sdk-agent", name="SDK agent")


@server.on_message
async def message(context: MessageContext):
    await context.emit_status("working", "one moment")
    for word in ("Hello", "from", "behind", "PAR"):
        await asyncio.sleep(0.05)
        await context.emit_content(word)
    await context.emit_result("done", {"session": context.session_id})


app = server.app
"""

# Runs with the SDK's own interpreter: its client has requirements of its own.
CLIENT = """
import asyncio, json, sys, time
from pixell.sdk import A2AClient

async def main(url):
    agents = await A2AClient.list_agents(url)
    seen = []
    async with A2AClient(f"{url}/agents/sdk-agent", "a-token") as client:
        card = await client.get_agent_info()
        begun = time.monotonic()
        async for event in client.stream_message("Hi"):
            seen.append([event.type, time.monotonic() - begun, event.raw])
    print(json.dumps({"card": card.name, "agents": len(agents), "seen": seen}))

asyncio.run(main(sys.argv[1]))
"""


def test_an_agent_server_is_streamed_from_by_its_own_client(par: Par, tmp_path: Path) -> None:
    package = tmp_path / "sdk-agent"
    package.mkdir()
    (package / "agent.yaml").write_text(MANIFEST)
    (package / "web.py").write_text(WEB)
    (package / "requirements.txt").write_text(f"{TOOLS['sdk']}\n")
    par.load(package)
    client = tmp_path / "client.py"
    client.write_text(CLIENT)
    python = tool("sdk").with_name("python")
    told = json.loads(run(python, client, f"http://127.0.0.1:{par.port}"))
    assert told["card"] == "SDK agent", told
    events = told["seen"]
    deltas = [raw.get("delta") for _, _, raw in events if raw.get("delta")]
    assert deltas == ["Hello", "from", "behind", "PAR"], events
    assert any(raw.get("state") == "completed" for _, _, raw in events), events
    times = [at for _, at, raw in events if raw.get("delta")]
    assert times[-1] - times[0] > 0.1, "the words came all at once"
