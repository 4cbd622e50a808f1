// Calls while versions are replaced: `load` uploads a new one every few seconds. Not one may fail.
import { answered, call, open, options } from "./par.js";
export { handleSummary } from "./par.js";

export const options_ = options({ rollout: open(100) }, { http_req_duration: ["p(95)<100"] });
export { options_ as options };

export default () => {
  answered(call("moving", {}), (told) => /^1\.0\.\d+$/.test(told.json("version")));
};
