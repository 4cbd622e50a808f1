// Where the main thread hangs, on standard error.
//
// Enters: nothing. Leaves: the functions that the main thread is in, by the inspector of the engine, which may
// interrupt it. What is no JavaScript (a call of the system, an addon) cannot be interrupted and is not seen.

import fs from "node:fs";
import inspector from "node:inspector";
import { fileURLToPath } from "node:url";

/** A main thread that runs JavaScript is interrupted within this, in milliseconds. */
const PATIENCE = 700;

let asked = false;

/** Writes them once; the worker that needs it does not live on. */
export function dumpStacks() {
  if (asked) return;
  asked = true;
  const scripts = new Map();
  const session = new inspector.Session();
  session.connectToMainThread();
  const timer = setTimeout(() => say("    (no JavaScript runs: it waits)"), PATIENCE);
  session.on("Debugger.scriptParsed", ({ params }) => scripts.set(params.scriptId, params.url));
  session.on("Debugger.paused", ({ params }) => {
    clearTimeout(timer);
    say(params.callFrames.map((frame) => line(frame, scripts)).join("\n"));
    session.post("Debugger.resume");
  });
  session.post("Debugger.enable");
  session.post("Debugger.pause");
}

function say(stack) {
  fs.writeSync(2, `The main thread, most recent call first:\n${stack}\n`);
}

function line({ functionName, location, url }, scripts) {
  const file = url || scripts.get(location.scriptId) || "";
  const path = file.startsWith("file:") ? fileURLToPath(file) : file;
  const place = `${path}:${location.lineNumber + 1}:${location.columnNumber + 1}`;
  return `    at ${functionName || "<anonymous>"} (${place})`;
}
