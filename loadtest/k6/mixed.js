// Quick and slow agents of different packages beside each other: the quick ones must not feel the slow ones.
import { answered, call, open, options } from "./par.js";
export { handleSummary } from "./par.js";

export const options_ = options(
  {
    quick: { ...open(100), exec: "quick" },
    slow: { ...open(20), exec: "slow" },
    busy: { ...open(5), exec: "busy" },
  },
  {
    "http_req_duration{scenario:quick}": ["p(95)<20"],
    "http_req_duration{scenario:slow}": ["p(95)<700"],
    "http_req_duration{scenario:busy}": ["p(95)<300"],
  },
);
export { options_ as options };

export function quick() {
  answered(call("echo", { a: 1 }));
}
export function slow() {
  answered(call("asleep", { seconds: 0.5 }));
}
export function busy() {
  answered(call("spin", { ms: 30 }));
}
