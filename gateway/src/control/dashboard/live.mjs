// The stream of figures: one connection, tried again for as long as the page is open, ever more slowly.

import { Refused, lines, send } from "./api.mjs";
import { Series } from "./series.mjs";

/** First and longest pause between two tries. */
const SOON = 500;
const LATE = 15000;

/** A stream that says nothing for so long is broken: the runtime speaks once a second. */
const SILENCE = 15000;

export const live = { series: new Series(), now: null, state: "connecting" };

let round = 0;

/** Reads until `stop`. Calls `changed` after each line and when the state changes, `refused` if the token is no good. */
export function connect(changed, refused) {
  const mine = ++round;
  const enter = (state) => {
    live.state = state;
    changed();
  };
  (async () => {
    let pause = SOON;
    while (mine === round) {
      try {
        await follow(mine, () => {
          pause = SOON;
          enter("live");
        });
        if (mine === round) enter("reconnecting");
      } catch (error) {
        if (mine !== round) return;
        if (error instanceof Refused && [401, 403].includes(error.status)) {
          refused(error);
          return;
        }
        enter("reconnecting");
      }
      // Not all pages come back in the same moment.
      await new Promise((resolve) => setTimeout(resolve, pause * (0.75 + Math.random() / 2)));
      pause = Math.min(pause * 2, LATE);
    }
  })();
}

export function disconnect() {
  round += 1;
  live.series = new Series();
  live.now = null;
  live.state = "connecting";
}

async function follow(mine, heard) {
  const control = new AbortController();
  let watch = setTimeout(() => control.abort(), SILENCE);
  try {
    const answer = await send("GET", "dashboard/stream", { accept: "application/x-ndjson", signal: control.signal });
    await lines(answer, (line) => {
      if (mine !== round) {
        control.abort();
        return;
      }
      clearTimeout(watch);
      watch = setTimeout(() => control.abort(), SILENCE);
      const said = JSON.parse(line);
      if (said.history) {
        for (const point of said.history) live.series.push(point);
        return;
      }
      live.series.push(said.point);
      live.now = said;
      heard();
    });
  } finally {
    clearTimeout(watch);
    control.abort();
  }
}
