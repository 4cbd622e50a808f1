"use strict";
// Asks the agent's own REST surface, wherever the page is served: `ui-config.json` tells where that is.
async function configuration() {
  for (const place of ["ui-config.json", "../ui-config.json"]) {
    const answer = await fetch(place);
    if (answer.ok) return answer.json();
  }
  throw new Error("there is no ui-config.json");
}

async function main() {
  const show = (id, text) => { document.getElementById(id).textContent = text; };
  const { apiBase } = await configuration();
  const pong = await (await fetch(`${apiBase}/ping`)).json();
  show("rest", pong.pong ? "pong" : "no pong");
  const numbers = await new Promise((resolve, reject) => {
    const seen = [];
    const source = new EventSource(`${apiBase}/events?count=3&seconds=0.05`);
    source.onmessage = (message) => {
      seen.push(`${message.lastEventId}:${JSON.parse(message.data).number}`);
      // The source would ask again for ever.
      if (seen.length === 3) { source.close(); resolve(seen.join(" ")); }
    };
    source.onerror = () => reject(new Error("the events broke off"));
  });
  show("events", numbers);
  const address = new URL(`${apiBase}/ws`, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address);
  socket.onopen = () => socket.send("hello");
  socket.onmessage = (message) => {
    show("ws", message.data);
    document.title = `connected: ${message.data}`;
  };
  socket.onerror = () => show("ws", "failed");
}

main().catch((error) => { document.getElementById("rest").textContent = String(error); });
