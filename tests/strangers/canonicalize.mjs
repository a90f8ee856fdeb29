// Writes the RFC 8785 form of JSON files as npm's `canonicalize` makes it, one after the other without separators.
//
//     node canonicalize.mjs [--node-modules DIR] [-o OUT] FILE...
//
// Without -o to stdout; without --node-modules the package is looked for from this file upwards.

import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  options: { "node-modules": { type: "string" }, output: { type: "string", short: "o" } },
  allowPositionals: true,
});
if (positionals.length === 0) throw new Error("no file given");

async function load(modules) {
  if (modules === undefined) return import("canonicalize");
  const home = resolve(modules, "canonicalize");
  const { main } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
  return import(pathToFileURL(join(home, main)));
}

const { default: canonicalize } = await load(values["node-modules"]);
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const canonical = positionals.map((path) => canonicalize(JSON.parse(utf8.decode(readFileSync(path))))).join("");
if (values.output === undefined) process.stdout.write(canonical);
else writeFileSync(values.output, canonical);
