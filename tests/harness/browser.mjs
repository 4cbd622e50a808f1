// Opens a page in a real browser, waits until its title begins with a word, and tells what is on it.
// Arguments: address, word, file of the screenshot, folder of the browser's profile. Prints JSON.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";

const [address, word, picture, profile] = process.argv.slice(2);
const PATIENCE = 30_000;

const browser = spawn("chromium-headless-shell", [
  "--no-sandbox", // the tests may run as root; the page is ours
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--ignore-certificate-errors",
  "--window-size=800,600",
  `--user-data-dir=${profile}`,
  "--remote-debugging-pipe",
  "about:blank",
], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
const late = setTimeout(() => { browser.kill("SIGKILL"); }, PATIENCE);

// One JSON object after the other, each ended by a zero byte.
let last = 0;
let session;
let read = "";
const waiting = new Map();
const events = new Map();
browser.stdio[4].setEncoding("utf8").on("data", (text) => {
  read += text;
  const whole = read.split("\0");
  read = whole.pop();
  for (const said of whole.map((one) => JSON.parse(one))) {
    waiting.get(said.id)?.(said);
    waiting.delete(said.id);
    events.get(said.method)?.(said.params);
  }
});
const ask = (method, params = {}) => new Promise((resolve, reject) => {
  const id = ++last;
  waiting.set(id, (said) => (said.error ? reject(new Error(said.error.message)) : resolve(said.result)));
  browser.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId: session })}\0`);
});
const evaluate = async (expression) => {
  const { result, exceptionDetails } = await ask("Runtime.evaluate", {
    expression, awaitPromise: true, returnByValue: true,
  });
  if (exceptionDetails) throw new Error(exceptionDetails.text);
  return result.value;
};

const { targetId } = await ask("Target.createTarget", { url: "about:blank" });
({ sessionId: session } = await ask("Target.attachToTarget", { targetId, flatten: true }));
await ask("Page.enable");
const loaded = new Promise((resolve) => { events.set("Page.loadEventFired", resolve); });
await ask("Page.navigate", { url: address });
await loaded;
// The page's own scripts go on after it is there.
await evaluate(`new Promise((resolve) => {
  const look = () => (document.title.startsWith(${JSON.stringify(word)}) ? resolve() : setTimeout(look, 20));
  look();
})`);
const seen = await evaluate(`({
  title: document.title,
  texts: Object.fromEntries([...document.querySelectorAll("[id]")].map((one) => [one.id, one.textContent])),
  color: getComputedStyle(document.querySelector("h1")).color,
})`);
const { data } = await ask("Page.captureScreenshot", { format: "png" });
writeFileSync(picture, Buffer.from(data, "base64"));
console.log(JSON.stringify(seen));
clearTimeout(late);
const gone = once(browser, "exit");
session = undefined;
await ask("Browser.close").catch(() => {});
await gone;
