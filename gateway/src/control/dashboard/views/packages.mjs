// Packages and their generations, what replaces what, and the ways back.

import { h, show, table, empty, heading, badge } from "../dom.mjs";
import { bytes, duration, milliseconds, moment, percent, whole } from "../format.mjs";
import { ask, inPath } from "../api.mjs";
import { live } from "../live.mjs";
import { change } from "../dialog.mjs";

const known = { packages: null, failed: [], rollouts: [], agents: [], error: null };

/** Rollouts that were under way and are on no list yet, as they were seen last. */
const watched = new Map();

const TONES = { active: "good", beside: "", parked: "", draining: "warn", crash_loop: "bad", error: "bad", ready: "good", starting: "warn", disabled: "warn", lazy: "" };
const OUTCOMES = { running: "warn", live: "good", failed: "bad", superseded: "", rolled_back: "warn" };

/** Steps in the order in which they are taken. */
const STEPS = ["queue", "fetch", "verify", "unpack", "manifest", "environment", "template", "warm", "probe", "table", "switch"];

/** `name@version` in two. */
function parts(id) {
  const at = id.lastIndexOf("@");
  return [id.slice(0, at), id.slice(at + 1)];
}

function generations() {
  const rows = known.packages.filter((one) => one.generation !== undefined);
  const parked = new Set(rows.filter((one) => one.state === "parked").map((one) => parts(one.id)[0]));
  return table("Packages and generations", [
    { head: "Package", wide: true, cell: (one) => [h("code", {}, one.id), one.last_error && h("p", { class: "trouble" }, one.last_error), one.warnings.map((text) => h("p", { class: "hint" }, text))] },
    { head: "State", cell: (one) => badge(one.state.replace("_", " "), TONES[one.state]) },
    { head: "Gen.", number: true, cell: (one) => whole(one.generation) },
    { head: "Traffic", number: true, cell: (one) => (one.traffic ? whole(one.traffic) : one.active ? "all" : "–") },
    { head: "Workers", number: true, cell: (one) => whole(one.workers.length) },
    { head: "Waiting", number: true, cell: (one) => whole(one.queue_depth) },
    { head: "PSS", number: true, cell: (one) => bytes(one.pss_bytes) },
    { head: "Start", cell: (one) => one.fork.method },
    { head: "Sandbox", cell: (one) => one.sandbox.level ?? "–" },
    { head: h("span", { class: "hidden" }, "Actions"), cell: (one) => one.active && parked.has(parts(one.id)[0])
      && h("button", { type: "button", "data-act": "rollback", "data-of": parts(one.id)[0] }, "Roll back", h("span", { class: "hidden" }, ` ${parts(one.id)[0]}`)) },
  ], rows, (one) => `${one.id}#${one.generation}`);
}

function agents() {
  return table("Agents", [
    { head: "Agent", wide: true, cell: (agent) => [h("code", {}, agent.id), agent.description && h("p", { class: "hint" }, agent.description)] },
    { head: "State", cell: (agent) => badge(agent.status.replace("_", " "), TONES[agent.status]) },
    { head: "Role", cell: (agent) => agent.role_required ?? "–" },
    { head: "Surfaces", cell: (agent) => [agent.surfaces.join(" "), agent.private && badge("private")] },
    { head: h("span", { class: "hidden" }, "Actions"), cell: (agent) => {
      const on = agent.status === "disabled";
      return h("button", { type: "button", "data-act": "switch", "data-of": agent.id, "data-on": on ? "1" : "0" }, on ? "Enable" : "Disable", h("span", { class: "hidden" }, ` ${agent.id}`));
    } },
  ], known.agents, (agent) => agent.id);
}

function steps(receipt) {
  const place = ([step]) => (STEPS.includes(step) ? STEPS.indexOf(step) : STEPS.length);
  const all = Object.entries(receipt.steps ?? {}).sort((one, other) => place(one) - place(other));
  const sum = all.reduce((total, [, seconds]) => total + seconds, 0) || 1;
  return h("ul", { class: "steps" }, all.map(([step, seconds], at) => h("li", { class: `step s${at % 6}` },
    h("span", { class: "step-name" }, step), h("span", { class: "step-time" }, duration(seconds)),
    h("meter", { min: "0", max: String(sum), value: String(seconds), "aria-label": `share of ${step}` }))));
}

function fared(calls) {
  if (!calls) return "–";
  return `${whole(calls.calls)} calls, ${percent(calls.calls ? calls.failed / calls.calls : 0)} failed, p99 ${milliseconds(calls.p99_ms)}`;
}

function receipt(one) {
  const side = (what) => (what ? what.id : "nothing");
  return h("details", { class: "receipt", "data-key": one.id, open: one.outcome === "running" },
    h("summary", {}, badge(one.outcome.replace("_", " "), OUTCOMES[one.outcome]), h("code", {}, one.to.id),
      h("span", { class: "hint" }, `${one.cause.replace("_", " ")} · ${moment(one.started)} · ${duration(one.seconds)}`)),
    h("div", { class: "receipt-body" },
      h("p", {}, "from ", h("code", {}, side(one.from)), " to ", h("code", {}, side(one.to)), `, generation ${one.generation}`),
      one.reason && h("p", { class: "trouble" }, one.step ? `${one.step}: ${one.reason}` : one.reason),
      steps(one),
      h("p", { class: "hint" }, "before: ", fared(one.calls?.before), " · after: ", fared(one.calls?.after)),
      h("p", { class: "hint" }, "receipt ", h("code", {}, one.id))));
}

/** Those under way first. Figures and lists come at different times: a list that has the end of one is right, and one that
 * is not on it yet stays where it was. */
function rollouts() {
  const listed = new Map(known.rollouts.map((one) => [one.id, one]));
  for (const one of live.now?.rollouts ?? []) watched.set(one.id, one);
  for (const id of watched.keys()) if ((listed.get(id)?.outcome ?? "running") !== "running") watched.delete(id);
  const rest = known.rollouts.filter((one) => !watched.has(one.id)).slice(0, 30);
  const all = [...watched.values(), ...rest];
  return all.length === 0 ? empty("No rollouts yet") : h("div", { class: "receipts" }, all.map(receipt));
}

function failures() {
  return known.failed.length > 0 && [h("h2", {}, "Could not be mounted"), table("Sources that could not be mounted", [
    { head: "Source", wide: true, cell: (one) => h("code", {}, one.source) },
    { head: "Step", cell: (one) => one.step },
    { head: "Why", wide: true, cell: (one) => one.detail },
    { head: "Since", number: true, cell: (one) => moment(one.since) },
  ], known.failed, (one) => one.source)];
}

export const packages = {
  name: "packages",
  title: "Packages",
  every: 3000,
  async load() {
    const running = new Set((live.now?.rollouts ?? []).map((one) => one.id));
    const over = [...watched.keys()].filter((id) => !running.has(id));
    const [listed, receipts, all] = await Promise.all([ask("GET", "packages"), ask("GET", "rollouts"), ask("GET", "agents")]);
    Object.assign(known, { packages: listed.packages, failed: listed.failed, rollouts: receipts.rollouts, agents: all.agents });
    // Its end is on the list that was just read, or the runtime knows nothing of it any more.
    for (const id of over) watched.delete(id);
  },
  render(place) {
    if (!known.packages) return show(place, heading("Packages"), empty("Loading"));
    const lazy = known.packages.filter((one) => one.generation === undefined);
    return show(place, heading("Packages"),
      known.packages.length === 0 ? empty("Nothing is mounted", "Load a package: ", h("code", {}, "par load PACKAGE.apkg")) : generations(),
      lazy.length > 0 && h("p", { class: "hint" }, `${lazy.length} more wait for their first call: ${lazy.map((one) => one.id ?? one.name).join(", ")}`),
      failures(), h("h2", {}, "Rollouts"), rollouts(), h("h2", {}, "Agents"),
      known.agents.length === 0 ? empty("No agents") : agents());
  },
  async act(name, data) {
    if (name === "rollback") {
      return change({ title: `Roll back ${data.of}?`, text: `The generation that was replaced last serves ${data.of} again, until a source names a newer version. Calls that run are not cut off.`, verb: "Roll back" }, async () => {
        const back = await ask("POST", `packages/${inPath(data.of)}/rollback`);
        return `${back.active} serves again`;
      });
    }
    const on = data.on === "1";
    return change({ title: `${on ? "Enable" : "Disable"} ${data.of}?`, text: on ? "It takes calls again." : "Its calls are refused with 503 until it is enabled again, over restarts and rollouts.", verb: on ? "Enable" : "Disable" }, async () => {
      const now = await ask("POST", `agents/${inPath(data.of)}/enable`, { enabled: on });
      return `${now.id} is ${now.enabled ? "enabled" : "disabled"}`;
    });
  },
};
