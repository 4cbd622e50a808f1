// The page: who looks, which view, and when it is drawn.

import { h, show, empty } from "./dom.mjs";
import { duration } from "./format.mjs";
import { Refused, ask, holdToken } from "./api.mjs";
import { connect, disconnect, live } from "./live.mjs";
import { toast } from "./dialog.mjs";
import { overview } from "./views/overview.mjs";
import { packages } from "./views/packages.mjs";
import { workers } from "./views/workers.mjs";
import { sessions } from "./views/sessions.mjs";
import { usage } from "./views/usage.mjs";
import { errors } from "./views/errors.mjs";
import { tryit } from "./views/tryit.mjs";

const VIEWS = [overview, packages, workers, sessions, usage, errors, tryit];

const main = document.getElementById("view");
const leave = document.getElementById("leave");
let signedIn = false;
let view = overview;
let due = 0;
let loading = false;

/** The token of a link that the start has printed; the address does not keep it. */
function tokenOfLink() {
  const found = /^#token=([\x21-\x7e]+)$/.exec(location.hash);
  if (found) history.replaceState(null, "", location.pathname + location.search);
  return found ? decodeURIComponent(found[1]) : "";
}

function signIn(trouble) {
  signedIn = false;
  disconnect();
  holdToken("");
  leave.hidden = true;
  document.getElementById("nav").replaceChildren();
  tellState();
  document.title = "Sign in · PAR";
  main.replaceChildren(h("form", { id: "sign-in", class: "sign-in" },
    h("h1", {}, "Agent runtime"),
    h("p", { class: "hint" }, "The token of a viewer or an operator. It stays in this page's memory until the page is closed."),
    h("div", { class: "field" }, h("label", { for: "token" }, "Token"),
      h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": trouble ? "trouble" : null, "aria-invalid": trouble ? "true" : null })),
    trouble && h("p", { class: "trouble", id: "trouble", role: "alert" }, trouble),
    h("button", { type: "submit", class: "primary" }, "Sign in")));
  document.getElementById("token").focus();
}

async function enter(text) {
  holdToken(text);
  try {
    // What every view needs: the right to look.
    await ask("GET", "logs/level");
  } catch (error) {
    const known = error instanceof Refused && [401, 403].includes(error.status);
    signIn(known ? (error.status === 403 ? "This token may not look: it needs the role par-viewer." : "This token is not valid.") : `The runtime did not answer: ${error.message}`);
    return;
  }
  signedIn = true;
  leave.hidden = false;
  main.replaceChildren();
  go();
  connect(() => {
    tellState();
    if (view === overview || view === packages) draw();
  }, () => signIn("The token is no longer valid."));
  tick();
}

function tellState() {
  const place = document.getElementById("state");
  const now = live.now;
  const text = !signedIn ? "not connected" : live.state === "live" ? `${now.status} · ${now.version}` : live.state;
  const tone = !signedIn ? "" : live.state !== "live" ? "warn" : now.status === "healthy" ? "good" : "bad";
  if (place.textContent !== text) place.textContent = text;
  place.className = `state ${tone}`;
  if (now) place.title = `up for ${duration(now.uptime_seconds)}`;
}

/** Shows what the address names. */
function go() {
  if (!signedIn) return;
  const [name, of] = location.hash.slice(1).split("/");
  const next = VIEWS.find((one) => one.name === name) ?? overview;
  next.enter?.(of ? decodeURIComponent(of) : "");
  if (next !== view) main.replaceChildren();
  view = next;
  document.title = `${view.title} · PAR`;
  show(document.getElementById("nav"), VIEWS.map((one) => h("a", { href: `#${one.name}`, "aria-current": one === view ? "page" : null, "data-key": one.name }, one.title)));
  due = 0;
  draw();
  tick();
}

function draw() {
  if (signedIn) view.render(main);
}

/** Asks for what the view shows, when it is time and somebody looks. */
async function tick() {
  if (!signedIn || loading || document.hidden || !view.load || performance.now() < due) return;
  loading = true;
  const asked = view;
  try {
    await asked.load();
    due = performance.now() + asked.every;
    main.dataset.fails = "";
  } catch (error) {
    due = performance.now() + asked.every * 2;
    if (error instanceof Refused && error.status === 401) signIn("The token is no longer valid.");
    else if (error instanceof Refused && main.dataset.fails !== error.message) {
      main.dataset.fails = error.message;
      if (main.children.length < 2) show(main, h("h1", {}, asked.title), empty("This could not be read", error.message));
      toast(error.message, true);
      loading = false;
      return;
    }
  } finally {
    loading = false;
  }
  if (asked === view) draw();
  else tick();
}

document.addEventListener("click", async (event) => {
  const target = event.target.closest("[data-act]");
  if (!target || target.tagName === "FORM") return;
  if (target.dataset.act === "skip") {
    event.preventDefault();
    main.focus();
    return;
  }
  if (await view.act?.(target.dataset.act, target.dataset, draw)) {
    due = 0;
    tick();
  }
});

document.addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.target.id === "sign-in") enter(document.getElementById("token").value.trim());
  else view.act?.(event.target.dataset.act, event.target.dataset, draw);
});

document.addEventListener("change", (event) => {
  const name = event.target.dataset?.change;
  if (!name || !view.changed) return;
  view.changed(name, event.target.type === "checkbox" ? event.target.checked : event.target.value);
  due = 0;
  draw();
  tick();
});

leave.addEventListener("click", () => signIn());
addEventListener("hashchange", () => {
  const linked = tokenOfLink();
  if (linked) enter(linked);
  else go();
});
document.addEventListener("visibilitychange", tick);
setInterval(tick, 500);

const linked = tokenOfLink();
if (linked) enter(linked);
else signIn();
