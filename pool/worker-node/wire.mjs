// The thread that reads: calls from the main socket, commands from the side socket, also while the main thread is
// busy in a handler.
//
// Enters: bytes. Leaves: batches of calls and commands to the main thread; what has not started is given back from
// here. The end of the side socket ends the process at once.

import fs from "node:fs";
import net from "node:net";
import { parentPort, workerData } from "node:worker_threads";

import { Channel, MAIN, SIDE, broken, leave } from "./channel.mjs";
import { Claims } from "./claims.mjs";
import { now } from "./clock.mjs";
import { Decoder, Kind, MAIN_KINDS, SIDE_KINDS } from "./frames.mjs";
import { Outstanding } from "./outstanding.mjs";
import { dumpStacks } from "./stacks.mjs";

/** How much earlier than ours `par`'s clock may say that a deadline has passed, in milliseconds. */
const SKEW = 50;

/** Bytes of one read by hand. */
const CHUNK = 65_536;

const claims = new Claims(workerData);
const channel = new Channel(claims);

const outstanding = new Outstanding(claims);

const calls = new Decoder(MAIN_KINDS);
const commands = new Decoder(SIDE_KINDS);

const main = new net.Socket({ fd: MAIN, readable: true, writable: false });
const side = new net.Socket({ fd: SIDE, readable: true, writable: false });

main.on("data", (data) => attempt(() => receive(data)));
main.on("end", () => parentPort.postMessage({ end: true }));
main.on("error", broken);
side.on("data", (data) => attempt(() => commands.feed(data, obey)));
side.on("end", () => leave(0));
side.on("error", broken);

function attempt(read) {
  try {
    read();
  } catch (error) {
    broken(error);
  }
}

function receive(data) {
  const received = now();
  const batch = [];
  calls.feed(data, (frame) => {
    const cell = outstanding.add(frame.call, frame.b ? received + frame.b : 0);
    // Copies: a message takes the whole buffer along in which its bytes lie.
    batch.push({ ...frame, meta: Uint8Array.from(frame.meta), payload: Uint8Array.from(frame.payload), received, cell });
  });
  if (batch.length > 0) parentPort.postMessage({ calls: batch });
}

function obey(frame) {
  switch (frame.kind) {
    case Kind.RECALL:
      recall();
      break;
    case Kind.CANCEL:
      cancel(frame.call);
      break;
    case Kind.CREDIT:
      parentPort.postMessage({ credit: frame.call, amount: frame.a });
      break;
    case Kind.FORGET:
      parentPort.postMessage({ forget: JSON.parse(frame.meta).session });
      break;
    case Kind.STOP:
      stop();
      break;
    case Kind.REPLY:
      // A copy: a message takes the whole buffer along in which its bytes lie.
      parentPort.postMessage({ reply: frame.call, flags: frame.flags, payload: Uint8Array.from(frame.payload) });
      break;
    default:
      // The decoder lets nothing else through.
      break;
  }
}

/** A worker that is asked and has a call past its deadline is about to be ended: it says where it hangs. */
function recall() {
  channel.returned(outstanding.takeBackAll());
  if (outstanding.isStuck(now() + SKEW)) dumpStacks();
}

function cancel(call) {
  if (isCancelled(call)) return;
  // It has ended, or it is on the other socket, where nobody has looked yet.
  drain();
  isCancelled(call);
}

function isCancelled(call) {
  if (outstanding.takeBack(call)) channel.send(Kind.CANCELLED, 0, call, 0);
  else if (outstanding.leave(call)) parentPort.postMessage({ cancel: call });
  else return false;
  return true;
}

/** Reads to the end of what was sent, and no further. */
function stop() {
  main.pause();
  try {
    drain();
  } finally {
    parentPort.postMessage({ stop: true });
  }
}

/** Takes in what is there. */
function drain() {
  const chunk = Buffer.alloc(CHUNK);
  for (let length = read(chunk); length > 0; length = read(chunk)) receive(Buffer.from(chunk.subarray(0, length)));
}

function read(chunk) {
  try {
    return fs.readSync(MAIN, chunk);
  } catch (error) {
    if (error.code === "EAGAIN") return 0;
    throw error;
  }
}
