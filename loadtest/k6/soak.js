// RATE calls a second, for as long as it is asked: three of four to echo, the rest with a session or a wait.
import exec from "k6/execution";
import { answered, call, open, options } from "./par.js";
export { handleSummary } from "./par.js";

export const options_ = options({ soak: open(Number(__ENV.RATE || 1000)) }, {});
export { options_ as options };

export default () => {
  const number = exec.scenario.iterationInTest;
  if (number % 8 === 0) {
    answered(call("chat", { text: "x" }, { headers: { "X-PAR-Session": `soak-${number % 64}-${Math.floor(number / 20000)}` } }));
  } else if (number % 8 === 1) {
    answered(call("asleep", { seconds: 0.05 }));
  } else {
    answered(call("echo", { number }), (told) => told.json("number") === number);
  }
};
