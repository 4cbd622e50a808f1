// A real browser with one page, and what every test of the dashboard watches: errors of the page, violations of its
// policy, rules of accessibility that it breaks.
//
// The libraries lie where `make tools` has put them: the folder is the first argument of the script.
import { createRequire } from "node:module";

const require = createRequire(`${process.argv[2]}/package.json`);
const { chromium } = require("playwright-core");
const axe = require.resolve("axe-core/axe.min.js");

/** Whatever a page does, it is there within this; a busy machine takes seconds. */
const PATIENCE = 30_000;

export const trouble = [];

export async function open({ dark = false, width = 1280, height = 900 } = {}) {
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium-headless-shell",
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
  const context = await browser.newContext({ colorScheme: dark ? "dark" : "light", viewport: { width, height }, reducedMotion: "reduce" });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  page.on("pageerror", (error) => trouble.push(`error: ${error.stack ?? error.message}`));
  page.on("console", (message) => {
    // The browser says so of every answer that is none: those are looked at by the tests.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) trouble.push(`console: ${message.text()}`);
  });
  await page.addInitScript(() => {
    globalThis.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => globalThis.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
  });
  return { browser, page };
}

/** Every rule of accessibility that the page breaks, in words. */
export async function judge(page, where) {
  // The judge itself is no script of the page: it is brought in by the debugger, past the policy.
  await page.evaluate(require("node:fs").readFileSync(axe, "utf8"));
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  for (const { id, help, nodes } of violations) {
    trouble.push(`axe in ${where}: ${id}: ${help}: ${nodes.map((node) => node.target.join(" ")).slice(0, 3).join(", ")}`);
  }
}

/** What can be used with a mouse and not be reached with the keyboard, in words. */
export async function unreachable(page, where) {
  const count = await page.evaluate(() => {
    const usable = "a[href], button:enabled, input:enabled, select:enabled, textarea:enabled, summary, [tabindex='0']";
    globalThis.unreached = new Set([...document.querySelectorAll(usable)].filter((one) => one.checkVisibility() && one.getClientRects().length > 0));
    document.activeElement.blur();
    return globalThis.unreached.size;
  });
  // Rows may come meanwhile, and the browser's own places count as well.
  for (let presses = 0; presses < 2 * count + 20; presses += 1) {
    await page.keyboard.press("Tab");
    const left = await page.evaluate(() => {
      globalThis.unreached.delete(document.activeElement);
      return [...globalThis.unreached].filter((one) => one.isConnected).length;
    });
    if (left === 0) return;
  }
  const left = await page.evaluate(() => [...globalThis.unreached].filter((one) => one.isConnected).map((one) => one.outerHTML.slice(0, 120)));
  trouble.push(...left.map((one) => `${where}: the keyboard does not reach ${one}`));
}

export async function signIn(page, url, token) {
  await page.goto(url);
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
}

export async function view(page, name) {
  await page.getByRole("navigation").getByRole("link", { name, exact: true }).click();
  await page.getByRole("heading", { name, exact: true, level: 1 }).waitFor();
  await page.waitForFunction(() => !document.querySelector("main .empty-title")?.textContent.startsWith("Loading"));
}

/** Milliseconds until the page first showed something. */
export async function firstPaint(page) {
  const told = await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
  return told.jsonValue();
}

/** Ends the browser and tells what was seen. */
export async function close({ browser, page }, seen) {
  trouble.push(...(await page.evaluate(() => globalThis.violations)).map((one) => `policy: ${one}`));
  await browser.close();
  console.log(JSON.stringify({ ...seen, trouble }));
}
