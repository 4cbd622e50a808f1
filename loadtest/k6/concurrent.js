// 500 calls at once, all the time: what one instance is asked to hold.
import { SECONDS, answered, call, options } from "./par.js";
export { handleSummary } from "./par.js";

export const options_ = options(
  { concurrent: { executor: "constant-vus", vus: 500, duration: `${SECONDS}s`, gracefulStop: "30s" } },
  // Each takes a second; what is added to it is the runtime's.
  { http_req_duration: ["p(95)<1300"] },
);
export { options_ as options };

export default () => {
  answered(call("asleep", { seconds: 1 }));
};
