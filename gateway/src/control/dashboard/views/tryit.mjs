// A form for each agent, made of its schema, and its answer as it comes.

import { h, show, empty, heading, badge } from "../dom.mjs";
import { duration } from "../format.mjs";
import { ask, inPath, lines, send } from "../api.mjs";
import { fields, gathered, hasFields, parsed } from "../form.mjs";

const known = { agents: null, of: "", raw: false, running: null, answer: null };

/** Items that are shown: a stream may have no end. */
const SHOWN = 500;

/** Longest JSON that is shown on one line. */
const ONE_LINE = 100;

function chosen() {
  return known.agents.find((agent) => agent.id === known.of) ?? known.agents[0];
}

function inputs(agent) {
  const schema = agent.input_schema;
  if (!known.raw && hasFields(schema)) return h("div", { class: "fields", "data-key": `fields-${agent.id}` }, fields(schema));
  return h("div", { class: "field", "data-key": `raw-${agent.id}` }, h("label", { for: "raw" }, "Input, as JSON"),
    h("textarea", { id: "raw", name: "raw", rows: 8, class: "code", spellcheck: "false" }, "{}"));
}

function form(agent) {
  return h("form", { id: "try", class: "try", "data-act": "call", novalidate: false },
    h("div", { class: "field" }, h("label", { for: "agent" }, "Agent"),
      h("select", { id: "agent", "data-change": "of" }, known.agents.map((one) => h("option", { value: one.id, selected: one.id === agent.id }, one.id)))),
    agent.description && h("p", { class: "hint" }, agent.description),
    inputs(agent),
    h("div", { class: "field" }, h("label", { for: "session" }, "Session"), h("input", { id: "session", type: "text", autocomplete: "off", placeholder: "none" })),
    h("div", { class: "row" },
      h("label", { class: "check" }, h("input", { id: "streams", type: "checkbox", checked: true }), "Stream items as they come"),
      hasFields(agent.input_schema) && h("label", { class: "check" }, h("input", { type: "checkbox", "data-change": "raw", checked: known.raw }), "Write JSON")),
    h("div", { class: "actions" },
      h("button", { type: "submit", class: "primary", disabled: known.running !== null }, "Call"),
      h("button", { type: "button", "data-act": "stop", disabled: known.running === null }, "Stop")));
}

function output() {
  const answer = known.answer;
  if (!answer) return empty("The answer appears here", "Items of streams one by one.");
  const tone = { running: "warn", done: "good", failed: "bad", stopped: "" }[answer.state];
  return [h("p", { class: "row" }, badge(answer.state, tone), h("span", { class: "hint" }, [duration(answer.seconds), `${answer.count} ${answer.count === 1 ? "item" : "items"}`].join(" · ")),
    answer.requestId && answer.state === "failed" && h("a", { href: `#errors/${inPath(answer.requestId)}` }, "Explain")),
    answer.problem && h("p", { class: "trouble" }, answer.problem),
    answer.items.length > 0 && h("pre", { class: "out", tabindex: "0", id: "out" }, answer.items.join("\n")),
    answer.meta && h("details", { class: "receipt" }, h("summary", {}, "What came with it"), h("pre", {}, answer.meta))];
}

/** Short values on one line, so that items of streams stand below each other. */
function pretty(value) {
  if (typeof value === "string") return value;
  const short = JSON.stringify(value);
  return short.length <= ONE_LINE ? short : JSON.stringify(value, null, 2);
}

/** Server-sent events, as far as they are used here: `event` and `data`. */
function events(take) {
  let name = "message";
  let data = [];
  return (line) => {
    if (line === "") {
      if (data.length > 0) take(name, data.join("\n"));
      name = "message";
      data = [];
    } else if (line.startsWith("event:")) {
      name = line.slice(6).trim();
    } else if (line.startsWith("data:")) {
      data.push(line.slice(5).replace(/^ /, ""));
    }
  };
}

async function call(agent, input, again) {
  const control = new AbortController();
  const began = performance.now();
  const answer = { state: "running", items: [], count: 0, seconds: 0, requestId: "", problem: "", meta: "" };
  Object.assign(known, { running: control, answer });
  again();
  const streams = document.getElementById("streams").checked;
  const session = document.getElementById("session").value.trim();
  const put = (item) => {
    answer.count += 1;
    answer.items.push(pretty(item));
    if (answer.items.length > SHOWN) answer.items.shift();
    answer.seconds = (performance.now() - began) / 1000;
    again();
  };
  try {
    const body = session ? { input, session_id: session } : { input };
    const said = await send("POST", `agents/${inPath(agent.id)}/invoke`, { body, accept: streams ? "text/event-stream" : "application/json", signal: control.signal });
    answer.requestId = said.headers.get("x-request-id") ?? "";
    answer.state = "done";
    if ((said.headers.get("content-type") ?? "").startsWith("text/event-stream")) {
      answer.state = "running";
      await lines(said, events((name, data) => {
        if (name === "message") return put(JSON.parse(data));
        answer.state = name === "done" ? "done" : "failed";
        const last = JSON.parse(data);
        if (name === "error") answer.problem = problem(last);
        else answer.meta = pretty(last);
        return undefined;
      }));
      if (answer.state === "running") throw new Error("the stream broke off before its end");
    } else {
      const { output: result, ...rest } = await said.json();
      put(result);
      answer.meta = pretty(rest);
    }
  } catch (error) {
    answer.state = control.signal.aborted ? "stopped" : "failed";
    answer.requestId = error.requestId || answer.requestId;
    if (answer.state === "failed") answer.problem = error.code ? `${error.code}: ${error.message}` : error.message;
  }
  answer.seconds = (performance.now() - began) / 1000;
  known.running = null;
  again();
}

function problem({ code, detail, error }) {
  return [`${code}: ${detail}`, error && `${error.type}${error.message ? `: ${error.message}` : ""}`].filter(Boolean).join(" · ");
}

export const tryit = {
  name: "try",
  title: "Try it",
  every: 10000,
  enter(of) {
    if (of) known.of = of;
  },
  async load() {
    known.agents = (await ask("GET", "agents")).agents.filter((agent) => !agent.private);
  },
  render(place) {
    if (!known.agents) return show(place, heading("Try it"), empty("Loading"));
    if (known.agents.length === 0) return show(place, heading("Try it"), empty("No agents", "An agent can be tried as soon as its package is mounted."));
    return show(place, heading("Try it"), h("div", { class: "halves" }, form(chosen()), h("section", { class: "answer", "aria-label": "Answer", "aria-live": "polite" }, output())));
  },
  changed(name, value) {
    known[name] = value;
  },
  async act(name, data, again) {
    if (name === "stop") {
      known.running?.abort();
      return;
    }
    if (known.running) return;
    const place = document.getElementById("try");
    if (!place.reportValidity()) return;
    const agent = chosen();
    const raw = document.getElementById("raw");
    try {
      await call(agent, raw ? parsed("the input", raw.value || "{}") : gathered(place), again);
    } catch (error) {
      known.answer = { state: "failed", items: [], count: 0, seconds: 0, problem: error.message };
      again();
    }
  },
};
