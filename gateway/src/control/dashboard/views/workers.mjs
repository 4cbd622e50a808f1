// Processes of packages with what they take, and those that ended with why.

import { h, show, table, empty, heading, badge } from "../dom.mjs";
import { bytes, duration, moment, percent, whole } from "../format.mjs";
import { ask } from "../api.mjs";

const known = { all: null, before: new Map(), share: new Map() };

const TONES = { busy: "good", idle: "", retiring: "warn" };

/** Time on the processor since the last look, as a share of one core. */
function measure(workers) {
  const now = performance.now();
  const before = known.before;
  known.before = new Map();
  known.share = new Map();
  for (const { pid, generation, cpu_seconds: cpu } of workers) {
    const key = `${generation}/${pid}`;
    if (cpu === null) continue;
    known.before.set(key, { cpu, now });
    const former = before.get(key);
    if (former && now > former.now) known.share.set(key, (cpu - former.cpu) / ((now - former.now) / 1000));
  }
}

function processes() {
  const share = (one) => known.share.get(`${one.generation}/${one.pid}`);
  return table("Processes", [
    { head: "Package", wide: true, cell: (one) => [h("code", {}, one.package), h("span", { class: "hint" }, ` gen. ${one.generation}`)] },
    { head: "Process", number: true, cell: (one) => one.pid },
    { head: "Role", cell: (one) => one.role },
    { head: "State", cell: (one) => (one.role === "worker" || one.role === "isolated" ? badge(one.state, TONES[one.state]) : "–") },
    { head: "Calls", number: true, cell: (one) => whole(one.outstanding) },
    { head: "Answered", number: true, cell: (one) => whole(one.answered) },
    { head: "Sessions", number: true, cell: (one) => whole(one.sessions) },
    { head: "CPU", number: true, cell: (one) => percent(share(one)) },
    { head: "CPU time", number: true, cell: (one) => duration(one.cpu_seconds) },
    { head: "PSS", number: true, cell: (one) => bytes(one.pss_bytes) },
    { head: "RSS", number: true, cell: (one) => bytes(one.rss_bytes) },
    { head: "Age", number: true, cell: (one) => duration(one.age_seconds) },
  ], known.all.workers, (one) => `${one.generation}/${one.pid}`);
}

/** What a process left behind. */
export function remains(death) {
  return [
    death.stack.length > 0 ? [h("h3", {}, "Stack"), h("pre", { tabindex: "0" }, death.stack.join("\n"))] : h("p", { class: "hint" }, "It left no stack."),
    death.output.length > 0 && [h("h3", {}, "Last lines of output"), h("pre", { tabindex: "0" }, death.output.join("\n"))],
  ];
}

function ended(death) {
  return h("details", { class: "receipt", "data-key": `${death.generation}/${death.worker}/${death.at}` },
    h("summary", {}, badge(death.cause, "bad"), h("code", {}, death.package),
      h("span", { class: "hint" }, `${death.role} ${death.worker} · ${moment(death.at)} · lived ${duration(death.lived_seconds)} · ${whole(death.answered)} calls answered`)),
    h("div", { class: "receipt-body" }, h("p", {}, death.detail), remains(death)));
}

export const workers = {
  name: "workers",
  title: "Workers",
  every: 3000,
  async load() {
    known.all = await ask("GET", "workers");
    measure(known.all.workers);
  },
  render(place) {
    if (!known.all) return show(place, heading("Workers"), empty("Loading"));
    const { workers: all, ended: gone, total_ended: total } = known.all;
    return show(place, heading("Workers"),
      all.length === 0 ? empty("No processes", "A package has some as soon as it is mounted.") : processes(),
      h("h2", {}, "Ended", total > 0 && h("span", { class: "hint" }, ` ${whole(total)} since the start`)),
      gone.length === 0 ? empty("None has ended by accident", "Crashes, kills and calls past their deadline are listed here with the stack.") : h("div", { class: "receipts" }, gone.map(ended)));
  },
};
