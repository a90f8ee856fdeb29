// Holds readers of event streams to the corpus: what they hand on, and with which cursor they come back.
//
//     node conformance.mjs CACHE SERVICE READER…      SERVICE: address of one that is new; READER: eventsource, httpx-sse, chromium
//
// The corpus says what the HTML standard makes of each stream, and with `but` where a reader differs from it. Chromium does not. eventsource
// shows no id with an event that has none of its own, does not move its cursor with an id alone, and waits for more after a last CR; httpx-sse
// keeps a byte order mark, hands on blocks without data as events (here they are passed over), and does not come back by itself.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

import { read } from "./read.mjs";
import { recorded } from "./recorded.mjs";
import { expected, replay, streams } from "./replay.mjs";

const [cache, service, ...readers] = process.argv.slice(2);
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const installed = createRequire(`${cache}/npm/`);
const cases = streams([...JSON.parse(readFileSync(here("corpus.json"), "utf8")), ...(await recorded(service))]);
const names = [...new Set(cases.flatMap(({ events }) => events.map(([, event]) => event)))];
const paths = (reader) => cases.flatMap(({ cuts }, number) => cuts.map((cut) => `${reader}/${number}/${cut}`));

/** Chromium takes its time to come back: it does so at some of the cuts, httpx-sse at none. */
const comesBack = (reader, path) => reader === "eventsource" || (reader === "chromium" && /(0|each)$/.test(path));

/** All of them, so many at once; the results in order. */
async function all(items, atOnce, work) {
  const results = [];
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const mine = next++;
      results[mine] = await work(items[mine]);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return results;
}

const run = {
  async eventsource(url) {
    const { EventSource } = await import(installed.resolve("eventsource"));
    return all(paths("eventsource"), 32, (path) => read(EventSource, `${url}/${path}`, names, true));
  },

  async "httpx-sse"(url) {
    const child = spawn(`${cache}/venv/bin/python`, ["-B", here("httpx_reader.py"), url], { stdio: ["pipe", "pipe", "inherit"] });
    child.stdin.end(JSON.stringify(paths("httpx-sse")));
    let told = "";
    for await (const some of child.stdout.setEncoding("utf8")) told += some;
    return JSON.parse(told);
  },

  // A profile of its own is made for each launch, and removed.
  async chromium(url) {
    const { chromium } = installed("playwright-core");
    const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
    const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, args, timeout: 30000 });
    try {
      const page = await browser.newPage();
      await page.goto(`${url}/`);
      await page.addScriptTag({ content: `${read}\n${all}` });
      return await page.evaluate(
        ([items, names]) => all(items, 6, ([url, comesBack]) => read(EventSource, url, names, comesBack)),
        [paths("chromium").map((path) => [`${url}/${path}`, comesBack("chromium", path)]), names],
      );
    } finally {
      await browser.close();
    }
  },
};

const server = await replay(cases);
let wrong = 0;
for (const reader of readers) {
  const began = Date.now();
  const found = await run[reader](server.url);
  paths(reader).forEach((path, at) => {
    const [, number, cut] = path.split("/");
    const { name, but } = cases[number];
    const { events, cursor } = { ...cases[number], ...but[reader] };
    const should = { events: expected(events), cursors: comesBack(reader, path) ? [cursor, cursor] : [] };
    const is = { events: found[at], cursors: server.cursors.get(path) };
    if (JSON.stringify(is) !== JSON.stringify(should) && ++wrong <= 10) {
      console.error(`${reader}: ${name}, cut at ${cut}:\n  is        ${JSON.stringify(is).slice(0, 1500)}\n  should be ${JSON.stringify(should).slice(0, 1500)}`);
    }
  });
  console.log(`${reader}: ${cases.length} streams, ${found.length} cuts, ${Date.now() - began} ms`);
}
server.close();
process.exit(wrong === 0 ? 0 : 1);
