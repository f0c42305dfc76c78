// Makes the pictures of the documentation again, of a demonstration on a fine day in September.

import { setTimeout as sleep } from "node:timers/promises";

import { freePorts, openBrowser, start, stop, untilReady } from "./parts.mjs";

/** Which picture shows which page, and how. */
const PICTURES = [
  { file: "dashboard.png", path: "", viewport: { width: 1120, height: 676 }, colorScheme: "light" },
  { file: "dashboard-year.png", path: "year/2026", viewport: { width: 1120, height: 718 }, colorScheme: "dark" },
];

const port = await freePorts();
const base = `http://127.0.0.1:${port}/`;
const demo = start("demo", ["-f", "2026-09-19 11:15:00", process.env.KSTAR, "run", "--demo", "--json", "--http", `127.0.0.1:${port}`],
  { command: "faketime", environment: { DONT_FAKE_MONOTONIC: "1", FAKETIME_DONT_FAKE_MONOTONIC: "1" } });
await untilReady(base, 1);
// Today's figures are those of the history, which a reading reaches a little later.
await sleep(3000);
const browser = await openBrowser();
for (const { file, path, viewport, colorScheme } of PICTURES) {
  const context = await browser.newContext({ viewport, colorScheme, locale: "en-GB" });
  const page = await context.newPage();
  await page.goto(base + path, { waitUntil: "load" });
  await page.screenshot({ path: `docs/${file}`, animations: "disabled" });
  await context.close();
}
await browser.close();
await stop(demo);
process.exit();
