// Handlers get the input and a context; what they return is the result. `yield` streams.
import { setTimeout as sleep } from "node:timers/promises";

export function greet({ name }, { requestId }) {
  console.log("greeting", name);
  return { message: `Hello, ${name}!`, requestId };
}

// Many of these run in one worker. `signal` tells when nobody waits any more.
export async function wait({ seconds = 0 }, { signal }) {
  await sleep(seconds * 1000, null, { signal });
  return { waited: seconds };
}

export async function* count({ to = 3 }) {
  for (let number = 1; number <= to; number++) yield { number };
}

// Other agents of the host, private ones too; `context.stream` for those that yield.
export async function ask({ agent, input }, context) {
  context.usage.record({ model: "none", inputTokens: 1 });
  return context.call(agent, input);
}

// Files of a form come in and a file goes out.
export async function shout({ doc }, context) {
  const text = await doc.text();
  return context.file({ data: Buffer.from(text.toUpperCase()), name: doc.name, contentType: "text/plain" });
}

export function fail({ why = "no reason" }) {
  throw new RangeError(why);
}
