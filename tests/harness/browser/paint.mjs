// When a browser first shows something of a page. Arguments: folder of the libraries, address. Prints milliseconds as JSON.
import { firstPaint, open } from "./page.mjs";

const TIMES = 7;

const { browser, page } = await open();
const paints = [];
for (let time = 0; time < TIMES; time += 1) {
  await page.goto("about:blank");
  await page.goto(process.argv[3]);
  paints.push(await firstPaint(page));
}
await browser.close();
console.log(JSON.stringify(paints));
process.exit(0);
