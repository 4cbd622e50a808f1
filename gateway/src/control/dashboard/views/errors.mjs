// Calls that failed with a 5xx, each with all that is known of it.

import { h, show, table, empty, heading, badge } from "../dom.mjs";
import { duration, milliseconds, moment, whole } from "../format.mjs";
import { Refused, ask, inPath } from "../api.mjs";
import { live } from "../live.mjs";
import { remains } from "./workers.mjs";

const known = { list: null, total: 0, one: null, gone: false, of: "", code: "", seen: -1 };

function list() {
  const codes = [...new Set(known.list.map((one) => one.code))].sort();
  const shown = known.list.filter((one) => !known.code || one.code === known.code);
  const filter = h("label", { class: "choice" }, "code", h("select", { "data-change": "code" },
    h("option", { value: "", selected: known.code === "" }, "all"), codes.map((code) => h("option", { value: code, selected: code === known.code }, code))));
  return [heading("Errors", filter, h("span", { class: "hint" }, `${whole(known.total)} since the start`)),
    shown.length === 0 ? empty("No failures", "Calls that end with a 5xx are listed here with the stack, the last lines and the queue of that moment.")
      : table("Calls that failed", [
        { head: "Time", number: true, cell: (one) => moment(one.at) },
        { head: "Code", cell: (one) => badge(one.code, "bad") },
        { head: "Agent", wide: true, cell: (one) => h("code", {}, one.agent_id ?? "–") },
        { head: "Cause", wide: true, cell: (one) => h("span", { class: "clip" }, one.cause) },
        { head: "Latency", number: true, cell: (one) => milliseconds(one.latency_ms) },
        { head: "Request", cell: (one) => h("a", { href: `#errors/${inPath(one.request_id)}` }, h("code", { class: "clip" }, one.request_id)) },
      ], shown, (one) => one.number)];
}

function fact(name, value, long = false) {
  return value !== null && value !== undefined && value !== "" && h("div", { class: long ? "long" : null }, h("dt", {}, name), h("dd", {}, value));
}

function failure(one) {
  const queue = one.queue;
  return h("section", { class: "failure", "data-key": one.number },
    h("h2", {}, badge(one.code, "bad"), " ", h("code", {}, one.agent_id ?? "")),
    h("p", { class: "cause" }, one.cause),
    one.death && one.death.detail !== one.cause && h("p", { class: "cause" }, one.death.detail),
    h("dl", { class: "facts" },
      fact("Time", moment(one.at)), fact("Status", one.status), fact("Tenant", one.tenant),
      fact("Worker", one.worker), fact("Generation", one.generation), fact("Nested in", one.depth > 0 ? `${one.depth} calls` : null),
      fact("Latency", milliseconds(one.latency_ms)), fact("In the queue", milliseconds(one.queue_ms)), fact("In the worker", milliseconds(one.worker_ms)),
      fact("Trace", one.trace_id && h("code", {}, one.trace_id), true)),
    queue && [h("h3", {}, "Queue at that moment"), h("dl", { class: "facts" },
      fact("Waiting", whole(queue.waiting)), fact("Oldest", milliseconds(queue.oldest_ms)), fact("Busy workers", `${queue.busy} of ${queue.workers}`), fact("In flight on this host", whole(one.in_flight)))],
    one.traceback && [h("h3", {}, "Traceback"), h("pre", { tabindex: "0" }, one.traceback)],
    one.death ? remains(one.death) : (one.output ?? []).length > 0 && [h("h3", {}, "Last lines of the worker"), h("pre", { tabindex: "0" }, one.output.join("\n"))]);
}

function line(text) {
  const time = String(text.ts ?? "").slice(11, 23);
  const { message, ...rest } = text.details ?? {};
  const more = Object.entries(rest).filter(([name]) => !["stack", "output"].includes(name)).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  return `${time} ${String(text.level).toUpperCase().padEnd(5)} ${text.event} ${[message, ...more].filter(Boolean).join(" ")}`;
}

function detail() {
  const back = heading(`Request ${known.of}`, h("a", { href: "#errors" }, "All errors"));
  if (known.gone) return [back, empty("Nothing is remembered of this request", "The last 100 failures of each code are kept.")];
  if (known.one?.request_id !== known.of) return [back, empty("Loading")];
  return [back, known.one.errors.map(failure),
    known.one.log.length > 0 && [h("h2", {}, "Its lines in the log"), h("pre", { class: "log", tabindex: "0" }, known.one.log.map(line).join("\n"))]];
}

export const errors = {
  name: "errors",
  title: "Errors",
  every: 2000,
  enter(of) {
    Object.assign(known, { of, one: null, gone: false, seen: -1 });
  },
  async load() {
    if (known.of) {
      try {
        known.one = await ask("GET", `errors/${inPath(known.of)}`);
        known.gone = false;
      } catch (error) {
        if (!(error instanceof Refused) || error.status !== 404) throw error;
        known.gone = true;
      }
      return;
    }
    // Asked again only if something failed meanwhile.
    const count = live.now ? live.now.failures + live.now.ended : 0;
    if (known.list && known.seen === count) return;
    const answer = await ask("GET", "errors");
    Object.assign(known, { list: answer.errors, total: answer.total, seen: count });
  },
  render(place) {
    if (known.of) return show(place, detail());
    if (!known.list) return show(place, heading("Errors"), empty("Loading"));
    return show(place, list());
  },
  changed(name, value) {
    known[name] = value;
  },
};
