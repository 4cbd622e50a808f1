// Callers that come back: each has a session, and every answer has to know all that was said in it before.
import exec from "k6/execution";
import { answered, call, open, options } from "./par.js";
export { handleSummary } from "./par.js";

export const options_ = options({ sessions: open(50) }, { http_req_duration: ["p(95)<20"] });
export { options_ as options };

const said = [];
export default () => {
  said.push(`${said.length}`);
  // A name of its own for every caller and every few calls: sessions begin and go on.
  const name = `k6-${exec.vu.idInTest}-${Math.floor((said.length - 1) / 20)}`;
  const told = call("chat", { text: said[said.length - 1] }, { headers: { "X-PAR-Session": name } });
  answered(told, () => told.json("said").length === ((said.length - 1) % 20) + 1);
};
