// What tenants have used, as the ledger says.

import { h, show, table, empty, heading } from "../dom.mjs";
import { bytes, whole } from "../format.mjs";
import { Refused, ask } from "../api.mjs";

const known = { usage: null, missing: false, by: "tenant", since: "day" };

const BY = ["tenant", "agent", "version", "outcome", "day", "hour"];
const SINCE = { hour: ["last hour", 3600], day: ["last 24 hours", 86400], month: ["last 30 days", 30 * 86400], all: ["all time", null] };

/** Members that name a row; the others are figures. */
const NAMES = ["tenant", "agent", "version", "outcome", "day", "hour"];

function query() {
  const [, seconds] = SINCE[known.since];
  const since = seconds === null ? "" : `&since=${encodeURIComponent(new Date(Date.now() - seconds * 1000).toISOString())}`;
  return `usage?by=${known.by}${since}`;
}

function figure(name, value) {
  if (value === null || value === undefined) return "–";
  if (name.endsWith("_seconds")) return `${value.toFixed(value < 100 ? 2 : 0)}\u2009s`;
  if (name.endsWith("_kb")) return bytes(value * 1024);
  return name.startsWith("bytes_") ? bytes(value) : whole(value);
}

/** A member of a row as a headline. */
function word(name) {
  const text = name.replace(/_seconds$/, " time").replace("peak_rss_kb", "peak RSS").replaceAll("_", " ");
  return text[0].toUpperCase() + text.slice(1);
}

function choice(name, label, options, now) {
  return h("label", { class: "choice" }, label, h("select", { "data-change": name }, options.map(([value, text]) => h("option", { value, selected: value === now }, text))));
}

function rows() {
  const all = known.usage.rows;
  const has = (name) => all.some((row) => row[name] !== undefined && row[name] !== null);
  const figures = [...new Set(all.flatMap(Object.keys))].filter((name) => !NAMES.includes(name) && all.some((row) => typeof row[name] === "number"));
  return table("Usage", [
    ...NAMES.filter(has).map((name) => ({ head: word(name), wide: true, cell: (row) => h("code", {}, row[name] ?? "–") })),
    ...figures.map((name) => ({ head: word(name), number: true, cell: (row) => figure(name, row[name]) })),
  ], all, (row) => NAMES.map((name) => row[name] ?? "").join("/"));
}

export const usage = {
  name: "usage",
  title: "Usage",
  every: 10000,
  async load() {
    try {
      known.usage = await ask("GET", query());
      known.missing = false;
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 404) throw error;
      known.missing = true;
    }
  },
  render(place) {
    const head = heading("Usage", choice("by", "by", BY.map((by) => [by, by]), known.by), choice("since", "over", Object.entries(SINCE).map(([value, [text]]) => [value, text]), known.since));
    if (known.missing) return show(place, head, empty("Usage is not recorded here"));
    if (!known.usage) return show(place, head, empty("Loading"));
    return show(place, head, known.usage.rows.length === 0 ? empty("Nothing was used in this time") : rows());
  },
  changed(name, value) {
    known[name] = value;
    known.usage = null;
  },
};
