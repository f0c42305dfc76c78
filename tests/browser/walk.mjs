// Walks every page in a real browser, as phone and desktop, light and dark, English and German.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { AXE, DESKTOP, NARROW, PHONE, TABLET, freePorts, openBrowser, said, start, stop, until, untilReady, write } from "./parts.mjs";

/** Where pictures of everything go, if somebody wants to look at them. */
const { SCREENSHOTS } = process.env;
if (SCREENSHOTS) mkdirSync(SCREENSHOTS, { recursive: true });

/** What a person would be kept from; axe-core's lesser findings are advice. */
const SERIOUS = ["serious", "critical"];

const day = (before) => new Date(Date.now() - before * 86_400_000).toISOString().slice(0, 10);
const yesterday = day(1);

/** The pages of the demonstration, and by which name a picture of them goes. */
const PAGES = {
  now: "",
  day: `day/${yesterday}`,
  week: `week/${day(9)}`,
  month: `month/${day(40).slice(0, 7)}`,
  year: `year/${yesterday.slice(0, 4)}`,
  total: "total",
  inverter: "inverter/inverter",
  collector: "collector",
  line: `day/${yesterday}?quantity=pv1_voltage`,
  counter: `month/${day(40).slice(0, 7)}?quantity=pv_energy_today`,
  nothing: "day/2001-01-01",
};

const lookOf = (viewport, colorScheme, locale) =>
  ({ viewport, colorScheme, locale, isMobile: viewport !== DESKTOP, hasTouch: viewport !== DESKTOP });

/** German words are the longer ones, so that the other widths are looked at in German alone. */
const LOOKS = [
  ...[PHONE, DESKTOP].flatMap((viewport) => ["light", "dark"].flatMap((colorScheme) =>
    ["en-GB", "de-DE"].map((locale) => lookOf(viewport, colorScheme, locale)))),
  ...[NARROW, TABLET].map((viewport) => lookOf(viewport, "light", "de-DE")),
];

const nameOf = (look) => [look.viewport.width, look.colorScheme, look.locale.slice(0, 2)].join("-");

/** A page that notes whatever a browser complains about, and everything that is loaded from elsewhere. */
async function open(browser, base, look) {
  const context = await browser.newContext(look);
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("response", (answer) => answer.status() >= 400 && complaints.push(`${answer.status()} ${answer.url()}`));
  page.on("request", (request) => request.url().startsWith(base) || complaints.push(`elsewhere: ${request.url()}`));
  const visit = async (path) => {
    // The stream of the first page never ends, so no page is ever idle.
    await page.goto(base + path, { waitUntil: "load" });
    return page;
  };
  return { context, page, complaints, visit };
}

/** Everything that is wider than the screen, or than the card that it is in, and cannot be scrolled by itself. */
function wider() {
  const width = document.documentElement.clientWidth;
  const found = document.documentElement.scrollWidth > width ? ["the page"] : [];
  for (const card of document.querySelectorAll(".card")) {
    if (card.scrollWidth > card.clientWidth) found.push(`${card.innerText.slice(0, 30)}: ${card.scrollWidth}`);
  }
  for (const element of document.querySelectorAll("body *")) {
    const { left, right } = element.getBoundingClientRect();
    const isIn = left >= -1 && right <= width + 1;
    if (isIn || element.closest(".scroll, .top ul, .hidden, .skip")) continue;
    found.push(`${element.tagName}.${element.className.baseVal ?? element.className} to ${right}`);
  }
  return found;
}

async function picture(page, name) {
  if (SCREENSHOTS) await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
}

async function hasNothingSerious(page, where) {
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => (await globalThis.axe.run()).violations);
  const serious = found.filter((one) => SERIOUS.includes(one.impact));
  const told = serious.map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 160)).join(" | ")}`);
  assert.deepEqual(told, [], `${where}: axe-core`);
}

/** Every page in every look. Axe looks at half of them: each width in both schemes, each scheme in both languages. */
async function everyPage(browser, base, pages, looks = LOOKS) {
  for (const [index, look] of looks.entries()) {
    const { context, page, complaints, visit } = await open(browser, base, look);
    for (const [name, path] of Object.entries(pages)) {
      const where = `${nameOf(look)}-${name}`;
      await visit(path);
      assert.equal(await page.locator("html").getAttribute("lang"), look.locale.slice(0, 2), where);
      assert.deepEqual(await page.evaluate(wider), [], `${where}: wider than the screen`);
      assert.ok(await page.locator("h1").count() === 1, `${where}: one heading`);
      await picture(page, where);
      if ([0, 3, 5, 6].includes(index)) await hasNothingSerious(page, where);
    }
    assert.deepEqual(complaints, [], nameOf(look));
    await context.close();
  }
}

const watts = (page) => page.locator(".flow .watts").allTextContents();

/** Values change by themselves within two polls, and one that is under way: polls are counted, since a busy machine is late. */
async function valuesAreLive(browser, base) {
  const { context, page, complaints, visit } = await open(browser, base, LOOKS[0]);
  await visit("");
  const polls = async () => (await (await fetch(`${base}api/v1/inverters`)).json())[0].accepted;
  for (let change = 0; change < 2; change += 1) {
    const [before, counted] = [await watts(page), await polls()];
    await until("other values", 30, async () => (await watts(page)).join() !== before.join());
    const took = await polls() - counted;
    assert.ok(took <= 3, `values changed after ${took} polls`);
  }
  assert.deepEqual(complaints, []);
  await context.close();
}

/** Keys lead to the day before and after, and a pointer shows values. */
async function keysAndPointer(browser, base) {
  const { context, page, visit } = await open(browser, base, { viewport: DESKTOP, locale: "en-GB" });
  await visit(`day/${yesterday}`);
  await page.keyboard.press("ArrowLeft");
  await page.waitForURL(`**/day/${day(2)}`);
  await page.keyboard.press("ArrowRight");
  await page.waitForURL(`**/day/${yesterday}`);
  for (const path of [PAGES.day, PAGES.week, PAGES.month, PAGES.year, PAGES.total, PAGES.line]) {
    await visit(path);
    const box = await page.locator(".chart.wide").boundingBox();
    assert.equal(await page.locator(".tip").isVisible(), false, path);
    await page.mouse.move(box.x + box.width * 0.7, box.y + box.height / 2);
    const told = await page.locator(".tip").innerText();
    assert.match(told, /\d ?(kWh|W|V)/, path);
    await picture(page, `hover-${path.replaceAll(/\W/g, "-")}`);
    await page.mouse.move(1, 1);
    assert.equal(await page.locator(".tip").isVisible(), false, path);
  }
  await context.close();
}

/** A finger leads to the day before and after, and shows values. */
async function fingers(browser, base) {
  const { context, page, visit } = await open(browser, base, LOOKS[0]);
  await visit(`day/${yesterday}`);
  const chart = page.locator(".chart.narrow");
  await chart.scrollIntoViewIfNeeded();
  const box = await chart.boundingBox();
  await page.touchscreen.tap(box.x + box.width / 2, box.y + box.height / 2);
  assert.match(await page.locator(".tip").innerText(), /\d ?W/);
  await picture(page, "touch");
  const session = await context.newCDPSession(page);
  const swipe = async (from, to) => {
    const touch = (type, x) => session.send("Input.dispatchTouchEvent",
      { type, touchPoints: x === undefined ? [] : [{ x, y: 100 }] });
    await touch("touchStart", from);
    await touch("touchMove", to);
    await touch("touchEnd");
  };
  await swipe(100, 300);
  await page.waitForURL(`**/day/${day(2)}`);
  await swipe(300, 100);
  await page.waitForURL(`**/day/${yesterday}`);
  await context.close();
}

/** Where each thing that can be used is reached by the tabulator alone, and seen when it is. */
async function keyboardAlone(browser, base) {
  const { context, page, visit } = await open(browser, base, { viewport: DESKTOP, locale: "en-GB" });
  for (const [name, path] of Object.entries(PAGES)) {
    await visit(path);
    const all = await page.evaluate(() => [...document.querySelectorAll("a, button, input:not([type=hidden]), select, .scroll")].length);
    const reached = await page.evaluate(() => { globalThis.reached = new Set(); return 0; });
    assert.equal(reached, 0);
    // A field for a date has several stops.
    for (let stop = 0; stop < all + 6; stop += 1) {
      await page.keyboard.press("Tab");
      const isSeen = await page.evaluate(() => {
        const at = document.activeElement;
        if (!at || at === document.body) return true;
        globalThis.reached.add(at);
        return getComputedStyle(at).outlineStyle !== "none" || at.matches("input");
      });
      assert.ok(isSeen, `${name}: the focus is not to be seen`);
    }
    const missed = await page.evaluate(() =>
      [...document.querySelectorAll("a, button, input:not([type=hidden]), select, .scroll")]
        .filter((one) => !globalThis.reached.has(one)).map((one) => one.outerHTML.slice(0, 120)));
    assert.deepEqual(missed, [], `${name}: not reached by keyboard`);
  }
  // The link to the content is the first stop.
  await visit(PAGES.day);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "main");
  await context.close();
}

/** Without scripts everything is there but what is live. */
async function withoutScripts(browser, base) {
  const look = { ...LOOKS[4], javaScriptEnabled: false };
  const { context, page, complaints, visit } = await open(browser, base, look);
  await visit("");
  assert.equal(await page.locator(".flow .watts").count(), 4);
  await page.getByRole("link", { name: "History" }).click();
  await page.getByRole("link", { name: "Earlier" }).click();
  await page.waitForURL(`**/day/${yesterday}`);
  assert.ok(await page.locator(".chart.wide").isVisible());
  for (const name of ["Week", "Month", "Year", "Total"]) {
    await page.getByRole("navigation", { name: "Period" }).getByRole("link", { name }).click();
    await page.waitForURL(`**/${name.toLowerCase()}*/**`.replace("total*/**", "total"));
    assert.ok(await page.locator(".chart.wide").isVisible(), name);
    assert.ok(await page.locator("tfoot td").count() > 0, name);
  }
  await visit("day");
  await page.locator("input[type=date]").fill(day(5));
  await page.getByRole("button", { name: "Show" }).click();
  await page.waitForURL(`**/day?date=${day(5)}`);
  for (const [ending, type] of [["CSV", "text/csv"], ["SVG", "image/svg+xml"], ["PNG", "image/png"]]) {
    const address = new URL(await page.getByRole("link", { name: ending }).getAttribute("href"), page.url());
    const answer = await page.request.get(String(address));
    assert.ok(answer.ok() && answer.headers()["content-type"].startsWith(type), String(address));
  }
  await page.getByRole("link", { name: "Inverter" }).click();
  await page.getByRole("link", { name: "PV1 voltage" }).click();
  assert.ok(await page.locator(".chart.wide").isVisible());
  await page.getByRole("link", { name: "Collector" }).click();
  assert.match(await page.locator("main").innerText(), /All is well/);
  assert.deepEqual(complaints, []);
  await context.close();
}

/** Three inverters, their loss and their return, and the loss and return of the collector. */
async function severalInverters(browser) {
  const [port, at] = [await freePorts(), await freePorts(3)];
  const simulate = () => start("simulator",
    ["simulate", "--listen", `127.0.0.1:${at}`, "--no-discovery", "--inverters", "3", "--start", "12:00", "--speed", "10"]);
  const inverters = ["roof", "barn", "garage"].map((name, index) =>
    `[[inverter]]\nname = "${name}"\nhost = "127.0.0.1:${at + index}"\n`);
  const config = write("several.toml",
    `[gate]\noff = ["counter_jump"]\n[collector]\npoll_interval = "2s"\n[http]\nlisten = "127.0.0.1:${port}"\n[sinks.sqlite]\npath = "several.db"\n${inverters.join("")}`);
  const collect = () => start("several", ["run", "--config", config, "--silent"]);
  const base = `http://127.0.0.1:${port}/`;
  let [simulator, collector] = [simulate(), collect()];
  await untilReady(base, 3);
  await valuesAreLive(browser, base);
  await everyPage(browser, base, { several: "", house: "day", one: "day?inverter=roof", roof: "inverter/roof" });

  const { context, page, visit } = await open(browser, base, LOOKS[4]);
  await visit("");
  const pills = () => page.locator(".pill").allTextContents();
  await until("all are online", 30, async () => (await pills()).join() === "online,online,online");
  await stop(simulator);
  await timed("until all are silent", () => until("all are silent", 60, async () => (await pills()).join() === "silent,silent,silent"));
  assert.equal(await page.locator(".flow .arrow").count(), 0, "what is silent has no arrows");
  await picture(page, "silent");
  await hasNothingSerious(page, "silent");
  simulator = simulate();
  await until("all are online again", 30, async () => (await pills()).join() === "online,online,online");

  await stop(collector);
  await until("the loss is told", 30, () => page.locator("#lost").isVisible());
  await picture(page, "lost");
  await hasNothingSerious(page, "lost");
  collector = collect();
  await until("the loss is over", 60, async () => !(await page.locator("#lost").isVisible()));
  await until("all are online after the restart", 30, async () => (await pills()).join() === "online,online,online");
  await context.close();
  await stop(collector);
  await stop(simulator);
}

/** Who is not in yet is asked for the token, and what does not exist is called so. */
async function logIn(browser) {
  const port = await freePorts();
  const base = `http://127.0.0.1:${port}/`;
  const config = write("closed.toml",
    `[http]\nlisten = "127.0.0.1:${port}"\ntoken = "correct-horse-battery-staple"\n[sinks.stdout]\n[[inverter]]\nhost = "127.0.0.1:9"\n`);
  const collector = start("closed", ["run", "--config", config, "--silent"]);
  await until("the form is there", 30, async () => (await fetch(`${base}login`)).ok);
  await everyPage(browser, base, { login: "login" });
  for (const look of [LOOKS[0], LOOKS[7]]) {
    const { context, page, visit } = await open(browser, base, look);
    // Sent on to the form, and back to what was asked for.
    await visit("collector");
    await page.keyboard.type("correct-horse-battery-stable");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").waitFor();
    await hasNothingSerious(page, "a wrong token");
    await page.locator("input[type=password]").fill("correct-horse-battery-staple");
    await page.keyboard.press("Enter");
    await page.waitForURL(`${base}collector`);
    await visit("nowhere");
    assert.deepEqual(await page.evaluate(wider), [], "nowhere: wider than the screen");
    await hasNothingSerious(page, "nowhere");
    await context.close();
  }
  await stop(collector);
}

async function demonstration(browser) {
  const port = await freePorts();
  const base = `http://127.0.0.1:${port}/`;
  const demo = start("demo", ["run", "--demo", "--json", "--http", `127.0.0.1:${port}`]);
  await untilReady(base, 1);
  for (const part of [everyPage, keysAndPointer, fingers, keyboardAlone, withoutScripts]) {
    await timed(part.name, () => part(browser, base, PAGES));
  }
  await stop(demo);
}

async function timed(name, part) {
  const began = Date.now();
  await part();
  console.log(`${name}: ${((Date.now() - began) / 1000).toFixed(1)} s`);
}

const browser = await openBrowser();
try {
  await Promise.all([
    timed("demonstration", () => demonstration(browser)),
    timed("several inverters", () => severalInverters(browser)),
    timed("log in", () => logIn(browser)),
  ]);
  for (const name of ["demo", "several", "closed"]) assert.doesNotMatch(said(name), /panic|please report/, name);
} catch (error) {
  console.error(error);
  for (const name of ["demo", "several", "closed", "simulator"]) console.error(`\n${name} said:\n${said(name).slice(-4000)}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
process.exit();
