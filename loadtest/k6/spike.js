// From 50 calls a second to 1,000 within a second, and back. The calls take 20 ms, so workers have to be added meanwhile.
import { SECONDS, answered, call, options } from "./par.js";
export { handleSummary } from "./par.js";

const part = SECONDS / 6;
export const options_ = options(
  {
    spike: {
      executor: "ramping-arrival-rate",
      startRate: 50,
      timeUnit: "1s",
      preAllocatedVUs: 200,
      maxVUs: 1000,
      stages: [
        { target: 50, duration: `${part}s` },
        { target: 1000, duration: "1s" },
        { target: 1000, duration: `${part}s` },
        { target: 50, duration: "1s" },
        { target: 50, duration: `${Math.max(1, 4 * part - 2)}s` },
      ],
    },
  },
  // 300 ms is what a call over the network may take.
  { http_req_duration: ["p(95)<300"] },
);
export { options_ as options };

export default () => {
  answered(call("asleep", { seconds: 0.02 }));
};
