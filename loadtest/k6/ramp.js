// More and more calls, until more come than can be served. What is over the limit is refused at once and told when to come
// back (503 with Retry-After, or 429); nothing else may go wrong.
import { check } from "k6";
import http from "k6/http";
import { SECONDS, call, options } from "./par.js";
export { handleSummary } from "./par.js";

http.setResponseCallback(http.expectedStatuses(200, 429, 503));
const steps = [500, 1000, 2000, 4000];
export const options_ = {
  ...options(
    {
      ramp: {
        executor: "ramping-arrival-rate",
        startRate: 100,
        timeUnit: "1s",
        preAllocatedVUs: 200,
        maxVUs: 400,
        stages: steps.map((target) => ({ target, duration: `${SECONDS / steps.length}s` })),
      },
    },
    { checks: ["rate==1"] },
  ),
};
// The load generator's own limit is met before that of the runtime: what it could not start says where.
delete options_.thresholds.dropped_iterations;
export { options_ as options };

export default () => {
  const told = call("echo", { a: 1 });
  check(told, {
    "answered, or told when to come back": () => told.status === 200 || told.headers["Retry-After"] !== undefined,
  });
};
