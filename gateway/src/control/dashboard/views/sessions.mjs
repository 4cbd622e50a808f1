// What callers keep between their calls.

import { h, show, table, empty, heading, badge } from "../dom.mjs";
import { bytes, duration, whole } from "../format.mjs";
import { ask, inPath } from "../api.mjs";
import { change } from "../dialog.mjs";

const known = { sessions: null };

export const sessions = {
  name: "sessions",
  title: "Sessions",
  every: 3000,
  async load() {
    known.sessions = (await ask("GET", "sessions")).sessions;
  },
  render(place) {
    if (!known.sessions) return show(place, heading("Sessions"), empty("Loading"));
    if (known.sessions.length === 0) {
      return show(place, heading("Sessions"), empty("No sessions", "They begin with a call that names one (", h("code", {}, "X-PAR-Session"), ") to an agent that keeps them."));
    }
    return show(place, heading("Sessions", h("span", { class: "hint" }, `${whole(known.sessions.length)} live`)), table("Sessions", [
      { head: "Session", wide: true, cell: (one) => h("code", {}, one.id) },
      { head: "Package", wide: true, cell: (one) => [h("code", {}, one.package), one.generation !== undefined && h("span", { class: "hint" }, ` gen. ${one.generation}`)] },
      { head: "Mode", cell: (one) => badge(one.mode) },
      { head: "Tenant", cell: (one) => one.tenant ?? "–" },
      { head: "Worker", number: true, cell: (one) => one.worker ?? "–" },
      { head: "Calls", number: true, cell: (one) => whole(one.calls) },
      { head: "Age", number: true, cell: (one) => duration(one.age) },
      { head: "Idle", number: true, cell: (one) => duration(one.idle) },
      { head: "PSS", number: true, cell: (one) => bytes(one.pss_bytes) },
      { head: h("span", { class: "hidden" }, "Actions"), cell: (one) => h("button", { type: "button", "data-act": "end", "data-of": one.id, "data-package": one.package.split("@")[0] }, "End", h("span", { class: "hidden" }, ` ${one.id}`)) },
    ], known.sessions, (one) => `${one.package}/${one.id}`));
  },
  act(name, data) {
    return change({ title: `End session ${data.of}?`, text: "What it keeps is dropped. Its next call is told that the session is lost.", verb: "End session" }, async () => {
      await ask("DELETE", `sessions/${inPath(data.of)}?package=${inPath(data.package)}`);
      return `${data.of} is over`;
    });
  },
};
