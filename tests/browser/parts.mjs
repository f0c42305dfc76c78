// What the tests and the pictures have in common: programs that are started and stopped, and the browser.

import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const { CHROMIUM, KSTAR, MODULES } = process.env;
const require = createRequire(join(MODULES, "/"));
const { chromium } = require("playwright-core");

/** The text of axe-core, which finds what a person could not see, read or reach. */
export const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const PHONE = { width: 390, height: 844 };
/** The narrowest screen that the accessibility guidelines ask for, or four times as large letters. */
export const NARROW = { width: 320, height: 640 };
export const TABLET = { width: 768, height: 1024 };
export const DESKTOP = { width: 1440, height: 900 };

/** The folder of everything that is written, removed at the end. */
export const folder = mkdtempSync(join(tmpdir(), "kstar-browser-"));
const running = new Set();

process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/** Below those that the system gives to whoever asks for any, so that nobody takes one while its program is started again. */
const PORTS = { from: 20_000, count: 10_000 };

/** Whether nobody has a port, neither of TCP nor of UDP. */
async function isFree(port) {
  for (const [socket, bind] of [[createServer(), "listen"], [createSocket("udp4"), "bind"]]) {
    const isBound = await new Promise((resolve) => {
      socket.once("error", () => resolve(false)).once("listening", () => resolve(true));
      socket[bind](port, "127.0.0.1");
    });
    if (!isBound) return false;
    await new Promise((resolve) => socket.close(resolve));
  }
  return true;
}

/** The first of so many ports in a row that nobody has. */
export async function freePorts(count = 1) {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const first = PORTS.from + Math.floor(Math.random() * PORTS.count);
    const free = [];
    for (let port = first; port < first + count; port += 1) free.push(await isFree(port));
    if (free.every(Boolean)) return first;
  }
  throw new Error(`no ${count} ports in a row are free`);
}

/** Starts the program, or another with it. What it says is kept in a file of this name. */
export function start(name, args, { command = KSTAR, environment = {} } = {}) {
  const log = openSync(join(folder, `${name}.log`), "a");
  const env = { ...process.env, TZ: "Europe/Berlin", XDG_STATE_HOME: join(folder, `${name}-state`), HOME: folder, ...environment };
  const child = spawn(command, args, { cwd: folder, env, stdio: ["ignore", "ignore", log] });
  running.add(child);
  child.ended = new Promise((resolve) => child.once("exit", resolve)).then(() => running.delete(child));
  return child;
}

export async function stop(child) {
  child.kill("SIGTERM");
  await child.ended;
}

/** What a program has said so far. */
export function said(name) {
  return readFileSync(join(folder, `${name}.log`), "utf8");
}

export function write(name, text) {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** Waits until something is so. */
export async function until(what, seconds, isSo) {
  const end = Date.now() + seconds * 1000;
  let problem = "";
  while (Date.now() < end) {
    try {
      if (await isSo()) return;
    } catch (error) {
      problem = `: ${error.message}`;
    }
    await sleep(100);
  }
  throw new Error(`not within ${seconds} s: ${what}${problem}`);
}

/** Waits until a collector has read so many inverters. */
export async function untilReady(base, inverters) {
  await until(`${inverters} inverters are read at ${base}`, 90, async () => {
    const answer = await fetch(`${base}api/v1/inverters`);
    const read = (await answer.json()).filter((one) => one.reading_age_ms !== undefined);
    return read.length === inverters;
  });
}

export function openBrowser() {
  return chromium.launch({ executablePath: CHROMIUM, args: ["--disable-gpu", "--hide-scrollbars"] });
}
