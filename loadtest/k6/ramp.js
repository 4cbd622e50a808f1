// More and more calls that compute for 10 ms, until more come than the workers of two or four cores can answer. What is over
// the limit is refused at once and told when to come back (503 with Retry-After, or 429); nothing else may go wrong.
import { check } from "k6";
import http from "k6/http";
import { Counter } from "k6/metrics";
import { SECONDS, call, options } from "./par.js";
export { handleSummary } from "./par.js";

http.setResponseCallback(http.expectedStatuses(200, 429, 503));
const refused = new Counter("refused");
const steps = [50, 200, 500, 1000];
export const options_ = {
  ...options(
    {
      ramp: {
        executor: "ramping-arrival-rate",
        startRate: 50,
        timeUnit: "1s",
        preAllocatedVUs: 200,
        // More than PAR takes at once, or nothing would be refused.
        maxVUs: 800,
        stages: steps.map((target) => ({ target, duration: `${SECONDS / steps.length}s` })),
      },
    },
    { checks: ["rate==1"], refused: ["count>0"] },
  ),
};
// How many of these callers a machine can make is its own affair.
delete options_.thresholds.dropped_iterations;
export { options_ as options };

export default () => {
  const told = call("spin", { ms: 10 });
  if (told.status !== 200) {
    refused.add(1);
  }
  check(told, {
    "answered, or told when to come back": () => told.status === 200 || told.headers["Retry-After"] !== undefined,
  });
};
