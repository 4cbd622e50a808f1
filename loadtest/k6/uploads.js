// Files of 256 KiB in forms, 20 a second. The longer id: two packages have an agent `count`.
import http from "k6/http";
import { BASE, answered, open, options } from "./par.js";
export { handleSummary } from "./par.js";

export const options_ = options({ uploads: open(20) }, { http_req_duration: ["p(95)<100"] });
export { options_ as options };

const words = "word ".repeat((256 * 1024) / 5);
const count = words.trim().split(" ").length;
export default () => {
  const told = http.post(`${BASE}/agents/files/count/invoke`, { doc: http.file(words, "words.txt", "text/plain") });
  answered(told, () => told.json("words") === count);
};
