// Charts over time, by uPlot. Each has a text of the same, for whoever cannot see it.

/* global uPlot */
import { h } from "./dom.mjs";

const drawn = new Map();

/** Names of colours in the style. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** A place for a chart. `lines`: `[{label, colour, fill?}]`; `format` for values; `least`: what the scale shows at least. */
export function chart(id, title, lines, format, least = 1) {
  const place = h("figure", { class: "chart", "data-key": id, id: `chart-${id}` },
    h("figcaption", {}, h("span", { class: "chart-title" }, title),
      h("span", { class: "legend" }, lines.map((line) => h("span", { class: "legend-item" },
        h("span", { class: `dot ${line.colour}`, "aria-hidden": "true" }), line.label, " ", h("b", { class: "now", id: `now-${id}-${line.colour}` }))))),
    h("div", { class: "plot", "data-lives": "1", role: "img", "aria-label": title }));
  place.setup = { id, title, lines, format, least };
  return place;
}

/** Draws `columns` (times first) into the chart of this id, if it is shown. */
export function draw(setup, columns) {
  const place = document.querySelector(`#chart-${setup.id} .plot`);
  if (!place) return;
  const last = columns.slice(1).map((column) => column.findLast((value) => value !== null) ?? null);
  setup.lines.forEach((line, at) => {
    const now = document.getElementById(`now-${setup.id}-${line.colour}`);
    const text = setup.format(last[at]);
    if (now && now.textContent !== text) now.textContent = text;
  });
  place.setAttribute("aria-label", `${setup.title}: ${setup.lines.map((line, at) => `${line.label} ${setup.format(last[at])}`).join(", ")}`);
  const known = drawn.get(setup.id);
  if (known && known.root.isConnected) {
    known.setData(columns);
    return;
  }
  known?.destroy();
  place.replaceChildren();
  drawn.set(setup.id, new uPlot(options(setup, place), columns, place));
}

function options({ lines, format, least }, place) {
  const axis = {
    stroke: () => colour("muted"), grid: { stroke: () => colour("grid"), width: 1 }, ticks: { show: false },
    font: "11px system-ui, sans-serif",
  };
  return {
    width: Math.max(place.clientWidth, 120), height: 150,
    legend: { show: false }, cursor: { show: false }, select: { show: false },
    padding: [8, 8, 0, 0],
    scales: { x: { time: true }, y: { range: (_, low, high) => [0, Math.max((high || 0) * 1.15, least)] } },
    axes: [
      { ...axis, size: 24, space: 70, values: (_, times) => times.map((time) => new Date(time * 1000).toLocaleTimeString("en-GB")) },
      { ...axis, size: 58, space: 32, values: (_, values) => values.map((value) => rounded(format(value))) },
    ],
    series: [{}, ...lines.map((line) => ({
      label: line.label, stroke: () => colour(line.colour), width: 1.5, points: { show: false }, spanGaps: false,
      fill: line.fill ? () => colour(`${line.colour}-fill`) : undefined,
    }))],
  };
}

/** Without the zeros that keep columns in line. */
function rounded(text) {
  return text.replace(/(\.\d*?)0+(?!\d)/, "$1").replace(/\.(?!\d)/, "");
}

/** Charts take the width that they are given. */
new ResizeObserver(() => {
  for (const one of drawn.values()) {
    const width = one.root.parentElement?.clientWidth ?? 0;
    if (one.root.isConnected && width > 0 && width !== one.width) one.setSize({ width, height: 150 });
  }
}).observe(document.documentElement);

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const one of drawn.values()) if (one.root.isConnected) one.redraw(false, true);
});
