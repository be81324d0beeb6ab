// What both programs on systems in Node have in common: program.py is its twin and says what they do.
// Copied beside a system's own packages before it is run: Node looks for packages from where a program lies.

import { appendFileSync, openSync, readFileSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const TICK_MS = 20;

/** Nanoseconds since 1970 with the precision of a microsecond, as a number that JSON.stringify writes whole. */
function now() {
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
}

class Notes {
  #firstNs = 0n;
  #runs = 0;
  #picked = [];

  run() {
    if (this.#runs === 0) this.#firstNs = now();
    this.#runs += 1;
  }

  pick(number) {
    this.#picked.push(`${number} ${now()}\n`);
  }

  keepIn(file) {
    const counts = openSync(file, "w", 0o600);
    const parent = process.ppid;
    let before = "";
    setInterval(() => {
      if (process.ppid !== parent) process.exit(1); // whoever measured us is gone
      const said = `${String(this.#firstNs).padStart(20, "0")} ${String(this.#runs).padStart(20, "0")}\n`;
      if (said !== before) writeSync(counts, said, 0);
      before = said;
      if (this.#picked.length > 0) appendFileSync(`${file}.picked`, this.#picked.splice(0).join(""));
    }, TICK_MS);
  }
}

export const notes = new Notes();

export async function main(adapter) {
  const [command, ...given] = process.argv.slice(2);
  const dsn = process.env.PEER_DSN;
  if (command === "work") {
    notes.keepIn(given[0]);
    await adapter.work(dsn);
    return;
  }
  if (command === "setup") {
    await adapter.setup(dsn);
    const manifest = JSON.parse(readFileSync(`node_modules/${adapter.package}/package.json`, "utf8"));
    say({ version: manifest.version, node: process.versions.node, settings: adapter.settings });
  } else if (command === "submit") {
    say({ seconds: await submit(adapter, dsn, Number(given[0]), Number(given[1])) });
  } else if (command === "pickup") {
    const pauses = JSON.parse(readFileSync(given[0], "utf8"));
    const committed = await submitSingly(adapter, dsn, pauses);
    process.stdout.write(`{"committed_ns": [${committed.join(", ")}]}\n`); // JSON.stringify() refuses a BigInt
  } else {
    throw new Error(`setup, submit, work and pickup there are, not ${command}`);
  }
  process.exit(0);
}

function say(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

async function submit(adapter, dsn, count, batch) {
  const submitter = await adapter.submitter(dsn);
  const began = performance.now();
  for (let start = 0; start < count; start += batch) await submitter.many(Math.min(batch, count - start));
  const seconds = (performance.now() - began) / 1000;
  await submitter.close();
  return seconds;
}

async function submitSingly(adapter, dsn, pauses) {
  const submitter = await adapter.submitter(dsn);
  const committed = [];
  for (const [number, pause] of pauses.entries()) {
    await sleep(1000 * pause);
    await submitter.one(number);
    committed.push(now());
  }
  await submitter.close();
  return committed;
}
