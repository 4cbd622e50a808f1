// How the host does: calls, failures, latencies, slots, queue, tokens.

import { h, show, table, empty, heading, badge } from "../dom.mjs";
import { amount, duration, milliseconds, whole } from "../format.mjs";
import { live } from "../live.mjs";
import { chart, draw } from "../chart.mjs";

/** Codes of failures that have lines of their own, those with the most first; the others are one line. */
const CODES = 4;

const PLAIN = [
  chart("rate", "Requests per second", [{ label: "requests", colour: "c1", fill: true }], amount),
  chart("latency", "Latency, queue included", [{ label: "p50", colour: "c1" }, { label: "p95", colour: "c2" }, { label: "p99", colour: "c3" }], duration, 0.001),
  chart("slots", "Workers", [{ label: "busy", colour: "c2", fill: true }, { label: "all", colour: "c1" }], amount),
  chart("queue", "Calls waiting", [{ label: "waiting", colour: "c3", fill: true }], amount),
  chart("tokens", "Tokens per second", [{ label: "in", colour: "c1" }, { label: "out", colour: "c2" }], amount),
].map((place) => place.setup);

const OF = {
  rate: [(point) => point.rate],
  latency: [(point) => point.p50, (point) => point.p95, (point) => point.p99],
  slots: [(point) => point.busy, (point) => point.workers],
  queue: [(point) => point.waiting],
  tokens: [(point) => point.tokens_in, (point) => point.tokens_out],
};

function codes() {
  const sums = new Map();
  for (const point of live.series.points) {
    for (const [code, rate] of Object.entries(point.errors ?? {})) sums.set(code, (sums.get(code) ?? 0) + rate);
  }
  return [...sums].sort((one, other) => other[1] - one[1]).map(([code]) => code);
}

function errorsSetup() {
  const all = codes();
  const own = all.slice(0, CODES);
  const lines = own.map((code, at) => ({ label: code, colour: `e${at + 1}` }));
  if (all.length > CODES) lines.push({ label: "others", colour: "e5" });
  const rest = (point) => Object.entries(point.errors ?? {}).filter(([code]) => !own.includes(code)).reduce((sum, [, rate]) => sum + rate, 0);
  const of = own.map((code) => (point) => point.errors?.[code] ?? 0);
  if (all.length > CODES) of.push(rest);
  // Another set of codes is another chart.
  return { setup: { id: `errors-${own.join("-")}`, title: "Errors per second, by code", lines: lines.length ? lines : [{ label: "none", colour: "e5" }], format: amount, least: 1 }, of: of.length ? of : [() => 0] };
}

function tile(label, value, note, tone) {
  return h("div", { class: `tile ${tone ?? ""}` }, h("dt", {}, label), h("dd", {}, h("span", { class: "figure" }, value), note && h("span", { class: "note" }, note)));
}

function tiles(point, now) {
  const failing = Object.values(point.errors ?? {}).reduce((sum, rate) => sum + rate, 0);
  return h("dl", { class: "tiles" },
    tile("Requests", amount(point.rate), "per second"),
    tile("Errors", amount(failing), "per second", failing > 0 ? "warn" : ""),
    tile("p50", duration(point.p50), "last 10 s"),
    tile("p95", duration(point.p95), "last 10 s"),
    tile("p99", duration(point.p99), "last 10 s"),
    tile("Busy", `${whole(point.busy)}\u2009/\u2009${whole(point.workers)}`, "workers", point.workers > 0 && point.busy === point.workers ? "warn" : ""),
    tile("Waiting", whole(point.waiting), point.waiting > 0 ? `oldest ${milliseconds(point.oldest_ms)}` : "calls", point.waiting > 0 ? "warn" : ""),
    tile("In flight", whole(point.in_flight), "calls"),
    now.log_dropped > 0 && tile("Log lines lost", whole(now.log_dropped), "since the start", "bad"));
}

const COLUMNS = [
  { head: "Agent", wide: true, cell: (agent) => h("code", {}, agent.id) },
  { head: "Requests/s", number: true, cell: (agent) => amount(agent.rate) },
  { head: "Errors/s", number: true, cell: (agent) => (agent.failed > 0 ? badge(amount(agent.failed), "bad") : "0") },
  { head: "p50", number: true, cell: (agent) => duration(agent.p50) },
  { head: "p95", number: true, cell: (agent) => duration(agent.p95) },
  { head: "p99", number: true, cell: (agent) => duration(agent.p99) },
  { head: "Calls", number: true, cell: (agent) => whole(agent.total) },
];

export const overview = {
  name: "overview",
  title: "Overview",
  render(place) {
    const point = live.series.last();
    if (!live.now || !point) {
      show(place, heading("Overview"), empty("Waiting for the first figures", "They come once a second."));
      return;
    }
    const errors = errorsSetup();
    const places = [PLAIN[0], errors.setup, PLAIN[1], PLAIN[2], PLAIN[3], PLAIN[4]].map(({ id, title, lines, format }) => chart(id, title, lines, format));
    const { agents } = live.now;
    show(place, heading("Overview"), tiles(point, live.now), h("div", { class: "charts" }, places),
      h("h2", {}, "Agents"),
      agents.length === 0
        ? empty("No calls yet", "Agents are listed here with their first call.")
        : table("Agents by requests per second", COLUMNS, agents, (agent) => agent.id));
    const times = live.series.times();
    for (const setup of PLAIN) draw(setup, [times, ...OF[setup.id].map((of) => live.series.values(of))]);
    draw(errors.setup, [times, ...errors.of.map((of) => live.series.values(of))]);
  },
};
