// What a person does at the dashboard. Arguments: folder of the libraries, what to do, its facts as JSON. Prints JSON.
import { createInterface } from "node:readline";
import { close, firstPaint, judge, open, signIn, trouble, unreachable, view } from "./page.mjs";

const [, , , deed, facts] = process.argv;
const { url, token, pictures } = JSON.parse(facts);
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Tells the test something and waits until it has done its part. */
async function meanwhile(word) {
  console.log(JSON.stringify({ word }));
  await input.next();
}

const VIEWS = ["Overview", "Packages", "Workers", "Sessions", "Usage", "Errors", "Try it"];

async function shoot(page, name) {
  await page.screenshot({ path: `${pictures}/${name}.png` });
}

const DEEDS = {
  /** Looks at everything, light or dark, wide or narrow. */
  async tour() {
    const texts = {};
    let paint = 0;
    let bytes = 0;
    for (const [look, options] of [["light", {}], ["dark", { dark: true }], ["narrow", { width: 400, height: 860 }]]) {
      const opened = await open(options);
      const { page } = opened;
      const answer = await page.goto(url);
      bytes = (await answer.body()).length;
      paint = await firstPaint(page);
      await judge(page, `${look}: sign in`);
      await signIn(page, url, token);
      await page.waitForFunction(() => document.querySelectorAll(".plot canvas").length >= 6);
      // Rates need some seconds to show.
      await page.waitForFunction(() => document.querySelector(".figure")?.textContent !== "0");
      for (const name of VIEWS) {
        await view(page, name);
        texts[name] = await page.locator("main").innerText();
        await judge(page, `${look}: ${name}`);
        const sideways = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
        if (sideways) trouble.push(`${look}: ${name} scrolls sideways`);
        await shoot(page, `${name.toLowerCase().replace(" ", "-")}-${look}`);
      }
      await view(page, "Errors");
      await page.getByRole("link", { name: "crashed-1" }).click();
      await page.getByRole("heading", { name: "Stack" }).waitFor();
      texts.error = await page.locator("main").innerText();
      await judge(page, `${look}: one error`);
      await shoot(page, `error-${look}`);
      await view(page, "Workers");
      await page.locator("details.receipt summary").first().click();
      texts.ended = await page.locator("details.receipt[open]").innerText();
      await view(page, "Packages");
      await page.locator("details.receipt summary").first().click();
      await judge(page, `${look}: a receipt`);
      texts.receipt = await page.locator("details.receipt[open]").first().innerText();
      trouble.push(...(await page.evaluate(() => globalThis.violations)).map((one) => `policy: ${one}`));
      if (look !== "narrow") await opened.browser.close();
      else await close(opened, { texts, paint, bytes });
    }
  },

  /** Tokens that are none, and a link that carries one. */
  async token() {
    const opened = await open();
    const { page } = opened;
    await page.goto(url);
    await page.getByLabel("Token").fill("not-the-token");
    await page.getByLabel("Token").press("Enter");
    const refused = await page.getByRole("alert").innerText();
    await judge(page, "refused");
    const empty = await page.locator("nav a").count();
    await page.goto("about:blank");
    await page.goto(`${url}#token=${token}`);
    await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
    const kept = await page.evaluate(() => ({
      address: location.href, stored: Object.keys(localStorage).length + Object.keys(sessionStorage).length, cookie: document.cookie,
    }));
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Token").waitFor();
    const after = await page.locator("main").innerText();
    await close(opened, { refused, empty, kept, after });
  },

  /** Changes ask first, with the keyboard alone. */
  async change() {
    const opened = await open();
    const { page } = opened;
    await page.goto(url);
    await page.keyboard.type(token);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
    const reach = async (name) => {
      for (let presses = 0; presses < 200; presses += 1) {
        await page.keyboard.press("Tab");
        if ((await page.evaluate(() => document.activeElement?.textContent)) === name) return;
      }
      throw new Error(`${name} cannot be reached with the keyboard`);
    };
    await page.evaluate(() => document.activeElement.blur());
    await reach("Packages");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Packages", level: 1 }).waitFor();
    const texts = [];
    for (const [button, verb, became] of [["Roll back hello", "Roll back", null], ["Roll back hello", "Roll back", "serves again"], ["Disable echo@1.0.0/echo", "Disable", "is disabled"]]) {
      await page.getByRole("button", { name: button, exact: true }).waitFor();
      await reach(button);
      await page.keyboard.press("Enter");
      await page.getByRole("dialog").waitFor();
      texts.push(await page.getByRole("dialog").innerText());
      if (texts.length === 1) await judge(page, "a question");
      if (became === null) {
        await page.keyboard.press("Escape");
        await page.getByRole("dialog").waitFor({ state: "detached" });
        await meanwhile("undone");
      } else {
        const focused = await page.evaluate(() => document.activeElement?.textContent);
        if (focused !== "Cancel") trouble.push(`the focus is on ${focused}`);
        await reach(verb);
        await page.keyboard.press("Enter");
        await page.getByRole("dialog").waitFor({ state: "detached" });
        texts.push(await page.locator(".toast", { hasText: became }).innerText());
      }
    }
    await page.getByRole("button", { name: "Enable echo@1.0.0/echo" }).waitFor();
    // A narrow screen has everything that a wide one has.
    await page.setViewportSize({ width: 400, height: 860 });
    for (const name of VIEWS) {
      await view(page, name);
      await unreachable(page, name);
    }
    await close(opened, { texts });
  },

  /** Watches a rollout step by step, and goes back. */
  async rollout() {
    const opened = await open();
    const { page } = opened;
    await signIn(page, url, token);
    await view(page, "Packages");
    await page.getByRole("heading", { name: "Rollouts" }).waitFor();
    await meanwhile("load");
    const running = page.locator("details.receipt[open]", { hasText: "hello@1.1.0" });
    await running.locator(".badge", { hasText: "running" }).waitFor();
    const steps = () => running.locator(".step-name").allInnerTexts();
    const seen = [];
    // Without a click or a reload, more and more of them.
    for (;;) {
      const now = await steps();
      if (now.length > (seen.at(-1)?.length ?? 0)) seen.push(now);
      if ((await running.locator("summary .badge").innerText()) !== "running") break;
      if (seen.length === 1 && now.length > 0) {
        await judge(page, "a rollout under way");
        await shoot(page, "rollout");
      }
      await page.waitForTimeout(50);
    }
    await running.locator("summary .badge", { hasText: "live" }).waitFor();
    await page.waitForFunction(() => [...document.querySelectorAll("details.receipt[open] .step-name")].some((one) => one.textContent === "switch"));
    const underWay = seen.length;
    seen.push(await steps());
    const receipt = await running.innerText();
    const back = page.getByRole("button", { name: "Roll back hello", exact: true });
    await back.click();
    const asked = await page.getByRole("dialog").innerText();
    await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await meanwhile("undone");
    await back.click();
    await page.getByRole("dialog").getByRole("button", { name: "Roll back", exact: true }).click();
    const told = await page.locator(".toast", { hasText: "serves again" }).innerText();
    const row = page.getByRole("row", { name: /hello@1\.0\.0/ }).filter({ hasText: "active" });
    await row.first().waitFor();
    const flip = async (verb, became) => {
      await page.getByRole("button", { name: `${verb} hello@1.0.0/default`, exact: true }).click();
      const question = await page.getByRole("dialog").innerText();
      await page.getByRole("dialog").getByRole("button", { name: verb, exact: true }).click();
      await page.locator(".toast", { hasText: became }).waitFor();
      return question;
    };
    const disabled = await flip("Disable", "is disabled");
    await meanwhile("disabled");
    const enabled = await flip("Enable", "is enabled");
    await close(opened, { underWay, seen, receipt, asked, told, disabled, enabled });
  },

  /** Looks at what tenants have used, in other ways. */
  async usage() {
    const opened = await open();
    const { page } = opened;
    await signIn(page, url, token);
    await view(page, "Usage");
    const table = page.getByRole("region", { name: "Usage" });
    await table.waitFor();
    const tenants = await table.innerText();
    const by = page.locator("select[data-change=by]");
    await by.selectOption("agent");
    await table.getByText("echo").first().waitFor();
    const agents = await table.innerText();
    await by.selectOption("hour");
    await table.getByRole("columnheader", { name: "Hour" }).waitFor();
    await judge(page, "usage by the hour");
    await close(opened, { tenants, agents });
  },

  /** Is open for a day: all that the runtime says in one, as fast as the page takes it. */
  async day() {
    const opened = await open();
    const { page } = opened;
    const line = (at) => {
      const point = { at, rate: at % 97, errors: { [`code_${at % 50}`]: 1 }, p50: 0.001, p95: 0.002, p99: 0.003, busy: 1, workers: 2, waiting: 0, oldest_ms: 0, in_flight: 1, tokens_in: 1, tokens_out: 1 };
      const agent = { id: `agent-${at % 500}@1.0.0/run`, rate: 1, failed: 0, p50: 0.001, p95: 0.001, p99: 0.001, total: at };
      return JSON.stringify({ point, status: "healthy", version: "1", uptime_seconds: at, agents: [agent], queues: [], rollouts: [], failures: 0, ended: 0, receipts: 0, log_dropped: 0 });
    };
    const DAY = 86_400;
    const now = Math.floor(Date.now() / 1000);
    let told = 0;
    await page.route("**/dashboard/stream", async (route) => {
      // Once for all; the next connection finds nobody.
      if (told > 0) return route.abort();
      told = DAY;
      const lines = Array.from({ length: DAY }, (_, second) => line(now - DAY + second));
      return route.fulfill({ contentType: "application/x-ndjson", body: `{"history":[]}\n${lines.join("\n")}\n` });
    });
    const tools = await page.context().newCDPSession(page);
    await tools.send("HeapProfiler.enable");
    const heap = async () => {
      await tools.send("HeapProfiler.collectGarbage");
      return (await tools.send("Runtime.getHeapUsage")).usedSize;
    };
    await page.goto(`${url}#usage`);
    await page.getByLabel("Token").fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: "Usage", level: 1 }).waitFor();
    await page.waitForFunction(() => document.getElementById("state").textContent.includes("reconnecting"));
    const after = await heap();
    await view(page, "Overview");
    await page.waitForFunction(() => document.querySelectorAll(".plot canvas").length >= 6);
    const nodes = await page.evaluate(() => document.querySelectorAll("*").length);
    await close(opened, { told, heap: after, nodes });
  },

  /** Calls agents from a form. */
  async try() {
    const opened = await open();
    const { page } = opened;
    await signIn(page, url, token);
    await view(page, "Try it");
    const pick = (id) => page.getByLabel("Agent", { exact: true }).selectOption(id);
    const ended = async (state) => {
      await page.locator(".answer .badge", { hasText: state }).waitFor();
      return page.locator(".answer").innerText();
    };
    const call = () => page.getByRole("button", { name: "Call" }).click();
    await pick("teller@1.0.0/tell");
    await page.getByLabel("times").fill("4");
    await page.getByLabel("word").fill("tick");
    await page.getByLabel("mood").selectOption({ label: "calm" });
    await call();
    // Items are there while the next one is still to come.
    await page.waitForFunction(() => {
      const items = document.getElementById("out")?.textContent.split("\n").length ?? 0;
      return items >= 2 && items < 4 && document.querySelector(".answer .badge").textContent === "running";
    });
    await judge(page, "a form");
    await shoot(page, "streaming");
    const streamed = await ended("done");
    await page.getByLabel("times").fill("1000");
    await call();
    await page.waitForFunction(() => (document.getElementById("out")?.textContent.length ?? 0) > 10);
    await page.getByRole("button", { name: "Stop" }).click();
    const stopped = await ended("stopped");
    await page.getByLabel("times").fill("");
    await call();
    const held = await page.evaluate(() => document.querySelector("#in-times:invalid") !== null);
    await pick("echo@1.0.0/echo");
    await page.getByLabel("Input, as JSON").fill('{"a": [1, "ü"]}');
    await page.getByLabel("Stream items").uncheck();
    await call();
    const whole = await ended("done");
    await page.getByLabel("Input, as JSON").fill("{oops");
    await call();
    const wrong = await ended("failed");
    await pick("faulty@1.0.0/raises");
    await page.getByLabel("Input, as JSON").fill("{}");
    await call();
    const failed = await ended("failed");
    await page.getByRole("link", { name: "Explain" }).click();
    await page.getByRole("heading", { name: "Traceback" }).waitFor();
    const explained = await page.locator("main").innerText();
    await close(opened, { streamed, stopped, held, whole, wrong, failed, explained });
  },

  /** Stays open while the runtime goes and comes back. */
  async restart() {
    const opened = await open();
    const { page } = opened;
    await signIn(page, url, token);
    const state = (text) => page.waitForFunction((wanted) => document.getElementById("state").textContent.includes(wanted), text);
    await state("healthy");
    await meanwhile("stop");
    await state("reconnecting");
    await shoot(page, "reconnecting");
    await meanwhile("start");
    await state("healthy");
    await close(opened, { points: await page.evaluate(() => document.querySelectorAll(".plot canvas").length) });
  },
};

await DEEDS[deed]();
process.exit(0);
