// Items one by one: 20 streams a second of 20 items, 10 ms apart. The first item comes as soon as it is made.
import { answered, call, open, options } from "./par.js";
export { handleSummary } from "./par.js";

export const options_ = options(
  { streaming: open(20) },
  // Until the first byte, and until the last of 200 ms of items.
  { http_req_waiting: ["p(95)<20"], http_req_duration: ["p(95)<400"] },
);
export { options_ as options };

export default () => {
  const told = call("acount", { to: 20, pause: 0.01 }, { headers: { Accept: "application/x-ndjson" } });
  answered(told, () => told.body.trim().split("\n").length === 20);
};
