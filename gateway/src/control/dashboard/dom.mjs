// Elements from data, and the least change from what is shown to what shall be.

/** An element. Attributes that are false, null or undefined are left out; `true` is an attribute without a value. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** Shows `wanted` in `place`. What is there already stays: focus, open details, text that somebody types. */
export function show(place, ...wanted) {
  const fresh = document.createElement("div");
  append(fresh, wanted);
  become(place, fresh);
}

function become(now, wanted) {
  const left = new Map();
  for (const child of now.children) if (child.dataset.key) left.set(child.dataset.key, child);
  let at = now.firstChild;
  for (const next of [...wanted.childNodes]) {
    const key = next.dataset?.key;
    const kept = key ? left.get(key) : at;
    if (kept && same(kept, next)) {
      if (kept !== at) now.insertBefore(kept, at);
      else at = at.nextSibling;
      if (kept.nodeType === Node.TEXT_NODE) {
        if (kept.data !== next.data) kept.data = next.data;
      } else {
        attributes(kept, next);
        // What is marked as living draws itself.
        if (!kept.dataset.lives) become(kept, next);
      }
    } else {
      now.insertBefore(next, at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function same(kept, next) {
  return kept.nodeType === next.nodeType && kept.nodeName === next.nodeName && kept.dataset?.key === next.dataset?.key;
}

function attributes(kept, next) {
  for (const { name } of [...kept.attributes]) {
    // Whoever has opened it wants to read it.
    if (!next.hasAttribute(name) && name !== "open") kept.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (kept.getAttribute(name) !== value) kept.setAttribute(name, value);
  }
}

/** A table. Columns: `{head, cell(row), number?, wide?}`; `key(row)` tells rows apart. */
export function table(caption, columns, rows, key) {
  const style = (column) => [column.number && "number", column.wide && "wide"].filter(Boolean).join(" ") || null;
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col", class: style(column) }, column.head)))),
      h("tbody", {}, rows.map((row) => h("tr", { "data-key": key(row) },
        columns.map((column, at) => h(at === 0 ? "th" : "td", { scope: at === 0 ? "row" : null, class: style(column) }, column.cell(row))))))));
}

/** Something to say where there is nothing to show. */
export function empty(title, ...text) {
  return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), text.length > 0 && h("p", {}, text));
}

/** A word with a colour that says the same. */
export function badge(text, tone) {
  return h("span", { class: `badge ${tone ?? ""}` }, text);
}

/** A headline with what can be done beside it. */
export function heading(title, ...beside) {
  return h("div", { class: "heading" }, h("h1", {}, title), h("div", { class: "beside" }, beside));
}
