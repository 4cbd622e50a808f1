// From the exports of a package to functions that can be called.
//
// Enters: `init.exports`. Leaves: one handler for each, or a `LoadError` that says which phase failed.

import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { LoadError } from "./failures.mjs";

/** What a module may be called on disk, in the order in which it is looked for. */
const ENDINGS = ["", ".mjs", ".js", ".cjs", "/index.mjs", "/index.js", "/index.cjs"];

const AsyncFunction = (async () => {}).constructor;
const AsyncGeneratorFunction = (async function* () {}).constructor;
const GeneratorFunction = function* () {}.constructor;

/** Imports every export's module and finds its handler. */
export async function load(exports, root) {
  const handlers = [];
  for (const one of exports) {
    const module = await attempt("import", one.id, () => import(pathToFileURL(find(one.module, root))));
    const { invoke, kind } = await attempt("handler", one.id, () => callable(module, one.attribute));
    handlers.push({ id: one.id, module, invoke, lane: laneOf(kind), streams: streams(kind) });
  }
  return handlers;
}

/** As in the READY frame. */
export function describe({ id, lane, streams }) {
  return { id, lane, streams };
}

/** Runs `onWorkerStart()` of every module that has it, once. */
export async function announce(handlers) {
  const modules = new Map(handlers.map(({ module, id }) => [module, id]));
  for (const [module, id] of modules) {
    await attempt("import", id, () => (module.onWorkerStart ?? module.default?.onWorkerStart)?.());
  }
}

async function attempt(phase, id, step) {
  try {
    return await step();
  } catch (error) {
    throw new LoadError(phase, id, error);
  }
}

function find(module, root) {
  const base = path.resolve(root, module);
  const files = base.startsWith(root + path.sep) ? ENDINGS.map((ending) => base + ending) : [];
  const found = files.find((file) => fs.statSync(file, { throwIfNoEntry: false })?.isFile());
  if (found === undefined) throw new Error(`the package has no module ${module}`);
  return found;
}

/** Classes are made once; of an object, `invoke` is meant. */
function callable(module, attribute) {
  const names = attribute.split(".");
  // What CommonJS exports is not always seen by name.
  const target = [module, module.default].map((from) => names.reduce((value, name) => value?.[name], from));
  const found = target.find((value) => value !== undefined && value !== null);
  if (found === undefined) throw new TypeError(`the module exports no ${attribute}`);
  const object = isClass(found) ? new found() : found;
  if (typeof object === "function") return { invoke: object, kind: object.constructor };
  if (typeof object.invoke !== "function") {
    throw new TypeError(`${attribute} is no function and has no method invoke`);
  }
  return { invoke: (input, context) => object.invoke(input, context), kind: object.invoke.constructor };
}

function isClass(value) {
  return typeof value === "function" && /^class\b/.test(Function.prototype.toString.call(value));
}

function laneOf(kind) {
  return kind === AsyncFunction || kind === AsyncGeneratorFunction ? "async" : "sync";
}

function streams(kind) {
  return kind === GeneratorFunction || kind === AsyncGeneratorFunction;
}
