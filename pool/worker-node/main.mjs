// A worker for packages in JavaScript: from a fresh process to one that serves.
//
// Enters: the descriptors that `FRAMES.md` numbers, with the package's description as a file. Leaves: READY or FAILED
// on the main socket, then answers until the side socket ends.

import fs from "node:fs";
import { Worker } from "node:worker_threads";

import { Channel, INIT, broken } from "./channel.mjs";
import { Claims } from "./claims.mjs";
import { now } from "./clock.mjs";
import { LoadError, ofStart } from "./failures.mjs";
import { Kind } from "./frames.mjs";
import { announce, describe, load } from "./handlers.mjs";
import { Serving } from "./serving.mjs";

/** Oldest version of Node whose features are used here. */
const OLDEST = 20;

const init = JSON.parse(fs.readFileSync(INIT, "utf8"));
fs.closeSync(INIT);

const claims = new Claims();
const channel = new Channel(claims);
// Before the package's code runs: a worker that hangs in an import still ends with `par`.
const wire = new Worker(new URL("./wire.mjs", import.meta.url), { workerData: claims.memory });
wire.on("error", broken);

// `par` asks so where a worker hangs; the wire's thread answers, and this keeps the signal from ending us.
process.on("SIGUSR2", () => {});
// One call's promise that nobody waits for must not end the others.
process.on("unhandledRejection", (error) => console.error("a promise was rejected and nobody waits for it:", error));

const handlers = await begin();
const serving = new Serving(handlers, channel, claims, init.package);
wire.on("message", (said) => serving.obey(said));

async function begin() {
  const began = now();
  try {
    if (Number(process.versions.node.split(".")[0]) < OLDEST) {
      const old = new Error(`Node ${OLDEST} or newer is needed, this is ${process.version}`);
      throw new LoadError("import", init.exports[0]?.id ?? "", old);
    }
    const handlers = await load(init.exports, init.root);
    await announce(handlers);
    const said = {
      runtime: `node ${process.versions.node}`,
      pid: process.pid,
      import_seconds: (now() - began) / 1000,
      exports: handlers.map(describe),
    };
    channel.send(Kind.READY, 0, 0, 0, "", JSON.stringify(said));
    return handlers;
  } catch (error) {
    if (!(error instanceof LoadError)) throw error;
    channel.send(Kind.FAILED, 0, 0, 0, "", ofStart(error));
    process.exit(1);
  }
}
