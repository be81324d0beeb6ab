// A worker over HTTP, of nothing but Node (18 or newer): `node worker.mjs` runs the handlers below, and
// `import { run } from "./worker.mjs"` runs yours. docs/http-workers.md describes what it says.
//
// DTSCHED_URL (http://127.0.0.1:8000), DTSCHED_KEY, DTSCHED_WORKER_NAME, QUEUES (default; with commas), SLOTS (4),
// GRACE (30: seconds that running jobs are given after SIGTERM).
//
// Handlers share one thread with the heartbeat: one that computes for longer than the lease has to do so in a
// worker_threads.Worker, or its jobs are given to others.
import { randomBytes } from "node:crypto";
import { statfsSync } from "node:fs";
import { cpus, freemem, hostname, totalmem } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";

/** Thrown by a handler to say what becomes of its job: new Outcome("snooze", { delay: "10m" }). */
export class Outcome extends Error {
  constructor(outcome, { delay, message = outcome } = {}) {
    super(message);
    Object.assign(this, { name: "Outcome", outcome, delay });
  }
}

const refuse = (message) => new Outcome("fail", { message });

/** Each is called with the job's args and { job, signal, progress, log }; what it returns is the result. */
export const builtin = {
  echo: ({ value }) => value,

  sleep: async ({ seconds }, { signal }) => {
    await pause(1000 * seconds, null, { signal });
  },

  fibonacci: ({ n }) => {
    if (!Number.isInteger(n) || n < 0 || n > 20_000) throw refuse(`n must be 0 to 20000, not ${n}`);
    let [a, b] = [0n, 1n];
    for (let left = n; left > 0; left--) [a, b] = [b, a + b];
    return a;
  },

  prime_factorization: ({ n }) => {
    const given = typeof n === "bigint" || Number.isSafeInteger(n) ? BigInt(n) : 0n;
    if (given < 1n || given >= 2n ** 64n) throw refuse(`n must be 1 to 2^64 - 1, not ${n}`);
    return factors(given).sort((one, other) => (one < other ? -1 : one > other ? 1 : 0));
  },
};

function factors(n) {
  for (const prime of [2n, 3n, 5n, 7n, 11n, 13n, 17n, 19n, 23n, 29n, 31n, 37n]) {
    if (n % prime === 0n) return [prime, ...factors(n / prime)];
  }
  if (n === 1n) return [];
  if (isPrime(n)) return [n];
  const divisor = findDivisor(n);
  return [...factors(divisor), ...factors(n / divisor)];
}

/** Miller and Rabin's test; exact below 2^64 with these bases, none of which divides n. */
function isPrime(n) {
  let [odd, halvings] = [n - 1n, 0];
  for (; odd % 2n === 0n; odd /= 2n) halvings++;
  return [2n, 3n, 5n, 7n, 11n, 13n, 17n, 19n, 23n, 29n, 31n, 37n].every((base) => {
    let value = power(base, odd, n);
    if (value === 1n || value === n - 1n) return true;
    for (let i = 1; i < halvings; i++) {
      value = (value * value) % n;
      if (value === n - 1n) return true;
    }
    return false;
  });
}

function power(base, exponent, modulus) {
  let result = 1n;
  for (; exponent > 0n; exponent >>= 1n, base = (base * base) % modulus) {
    if (exponent & 1n) result = (result * base) % modulus;
  }
  return result;
}

/** A proper divisor of the odd composite n, by Pollard's rho. */
function findDivisor(n) {
  for (let increment = 1n; ; increment++) {
    let [slow, fast, divisor] = [2n, 2n, 1n];
    while (divisor === 1n) {
      slow = (slow * slow + increment) % n;
      fast = (fast * fast + increment) % n;
      fast = (fast * fast + increment) % n;
      let [a, b] = [slow > fast ? slow - fast : fast - slow, n];
      while (b !== 0n) [a, b] = [b, a % b];
      divisor = a;
    }
    if (divisor !== n) return divisor;
  }
}

/** Until SIGTERM or SIGINT: then it claims nothing more, finishes what runs, and leaves. */
export async function run(handlers, options = {}) {
  const settings = {
    url: process.env.DTSCHED_URL ?? "http://127.0.0.1:8000",
    key: process.env.DTSCHED_KEY,
    name: process.env.DTSCHED_WORKER_NAME ?? `${hostname()}-${process.pid}`,
    queues: (process.env.QUEUES ?? "default").split(","),
    slots: Number(process.env.SLOTS ?? 4),
    graceSeconds: Number(process.env.GRACE ?? 30),
    ...options,
  };
  const worker = new Worker(handlers, settings);
  for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => worker.stop());
  await worker.run();
}

class Worker {
  constructor(handlers, settings) {
    Object.assign(this, { handlers, settings });
    this.api = new Api(settings.url, settings.key);
    this.running = new Map(); // by lease: { job, controller }
    this.stopping = new AbortController();
    this.changed = signal();
    this.figures = new Figures();
  }

  async run() {
    await this.register();
    const beating = this.beat();
    while (!this.stopping.signal.aborted) await this.claim().catch((error) => this.tired("claim", error));
    const grace = pause(1000 * this.settings.graceSeconds, null, { ref: false });
    const finished = (async () => {
      while (this.running.size > 0) await this.changed.next();
    })();
    await Promise.race([finished, grace]);
    this.left = true;
    await this.api.call("DELETE", `/v1/workers/${this.id}`).catch(() => null); // else its lease runs out
    this.beatNow?.();
    await beating;
    if (this.running.size > 0) process.exit(1); // handlers that did not end in time
  }

  stop() {
    if (this.stopping.signal.aborted) process.exit(1); // told twice
    say("stops when its jobs have ended");
    this.stopping.abort();
    this.changed.raise();
  }

  async register() {
    const { name, queues, slots } = this.settings;
    const body = { name, queues, slots, tasks: Object.keys(this.handlers), labels: { language: "javascript" } };
    const { status, answer } = await this.api.persist("POST", "/v1/workers", body, this.stopping.signal);
    if (status !== 201) throw new Error(`registration was refused: ${answer.detail}`);
    this.id = answer.id;
    this.leaseSeconds = answer.lease_seconds;
    say(`registered as ${this.id}`);
  }

  /** Five times in a lease. While the server cannot be reached, jobs go on: only it says that they are lost. */
  async beat() {
    while (!this.left) {
      await Promise.race([pause(200 * this.leaseSeconds), new Promise((resolve) => (this.beatNow = resolve))]);
      if (this.left) return;
      const body = { system_info: this.figures.read(), leases: [...this.running.keys()] };
      const path = `/v1/workers/${this.id}/heartbeat`;
      const told = await this.api.call("PUT", path, body, AbortSignal.timeout(5000)).catch(() => null);
      if (told?.status === 200) {
        for (const lease of told.answer.cancelled) this.running.get(lease)?.controller.abort("cancelled");
        for (const lease of told.answer.lost) this.drop(lease);
        if (told.answer.draining && !this.stopping.signal.aborted) this.stop();
      } else if (told?.status === 404 || told?.status === 409) {
        await this.begin_anew();
      }
    }
  }

  /** This identity is lost, and its jobs run elsewhere. */
  async begin_anew() {
    say("was declared lost");
    for (const lease of [...this.running.keys()]) this.drop(lease);
    if (!this.stopping.signal.aborted) await this.register().catch((error) => this.tired("registration", error));
  }

  drop(lease) {
    this.running.get(lease)?.controller.abort("lost");
    this.running.delete(lease);
    this.changed.raise();
  }

  async claim() {
    const free = this.settings.slots - this.running.size;
    if (free <= 0) return await this.changed.next();
    const id = this.id;
    const answered = new AbortController(); // takes the listeners off the signals again
    const signals = [this.stopping.signal, AbortSignal.timeout(45_000), answered.signal];
    const body = { limit: free, wait: 30 };
    const { status, answer } = await this.api
      .call("POST", `/v1/workers/${id}/claim`, body, either(signals))
      .finally(() => answered.abort());
    if (status === 200) for (const job of answer.jobs) this.start(job, id);
    else {
      const refused = status === 401 || status === 403;
      if (refused) say(`claim failed: ${answer.detail}`);
      await pause(refused ? 10_000 : 1000, null, { signal: this.stopping.signal }); // lost: the heartbeat registers anew
    }
  }

  async tired(what, error) {
    if (this.stopping.signal.aborted) return;
    say(`${what} failed: ${error.message}`);
    await pause(500 + 1000 * Math.random(), null, { signal: this.stopping.signal }).catch(() => null);
  }

  async start(job, id) {
    const controller = new AbortController();
    this.running.set(job.lease_id, { job, controller });
    const timeout = setTimeout(() => controller.abort("timeout"), 1000 * (job.timeout_seconds ?? 2e6));
    timeout.unref();
    const body = await this.outcome(job, id, controller.signal);
    clearTimeout(timeout);
    if (controller.signal.reason !== "lost") await this.finish(job, id, body, controller.signal);
    if (this.running.get(job.lease_id)?.controller === controller) this.running.delete(job.lease_id);
    this.changed.raise();
  }

  async outcome(job, id, signal) {
    const tell = (body) => {
      const path = `/v1/workers/${id}/leases/${job.lease_id}/progress`;
      return this.api.call("POST", path, { secret: job.secret, ...body }).catch(() => null);
    };
    const context = { job, signal, progress: (progress) => tell({ progress }), log: (line) => tell({ log: [line] }) };
    const aborted = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    try {
      const work = (async () => this.handlers[job.task](job.args, context))();
      return { outcome: "complete", result: (await Promise.race([work, aborted])) ?? null };
    } catch (error) {
      if (signal.reason === "timeout") {
        return { outcome: "retry", error: { type: "timeout", message: `still running after ${job.timeout_seconds} s` } };
      } else if (signal.aborted) {
        return { outcome: "cancel" };
      } else if (error instanceof Outcome) {
        const said = error.outcome === "snooze" ? {} : { error: { type: "Outcome", message: error.message } };
        return { outcome: error.outcome, ...(error.delay === undefined ? {} : { delay: error.delay }), ...said };
      }
      const [type, message] = [String(error?.name ?? "Error"), String(error?.message ?? error)];
      return { outcome: "retry", error: { type, message, traceback: error?.stack ?? null } };
    }
  }

  /** The same body until it is answered: repeated, it counts once. */
  async finish(job, id, body, signal) {
    const path = `/v1/workers/${id}/leases/${job.lease_id}/finish`;
    const lost = new AbortController();
    signal.addEventListener("abort", () => signal.reason === "lost" && lost.abort());
    try {
      const told = await this.api.persist("POST", path, { secret: job.secret, ...body }, lost.signal);
      if (told.status === 409 || told.status === 404) say(`job ${job.id} is somebody else's by now`);
      else if (told.status !== 200) {
        const error = { type: "RefusedOutcome", message: told.answer.detail ?? `status ${told.status}` };
        await this.api.persist("POST", path, { secret: job.secret, outcome: "fail", error }, lost.signal);
      }
    } catch (error) {
      say(`job ${job.id}: ${error.message ?? error}`);
    }
  }
}

class Api {
  constructor(url, key) {
    this.url = url.replace(/\/$/, "");
    this.headers = { "content-type": "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) };
  }

  /** { status, answer }, or an error where it may be said again: no answer, or that the server is not well. */
  async call(method, path, body, signal = AbortSignal.timeout(10_000)) {
    const content = body === undefined ? undefined : toJson(body);
    const response = await fetch(this.url + path, { method, headers: this.headers, body: content, signal });
    const text = await response.text();
    if (response.status >= 500 || response.status === 429) throw new Error(`the server answered ${response.status}`);
    return { status: response.status, answer: text ? fromJson(text) : null };
  }

  /** call(), again and again until it is answered. */
  async persist(method, path, body, signal) {
    for (let seconds = 0.1; ; seconds = Math.min(5, 2 * seconds)) {
      try {
        return await this.call(method, path, body);
      } catch (error) {
        if (signal?.aborted) throw error;
        await pause(1000 * seconds * (0.5 + Math.random()), null, { signal });
      }
    }
  }
}

class Figures {
  read() {
    const times = cpus().map((cpu) => cpu.times);
    const total = sum(times.flatMap(Object.values));
    const idle = sum(times.map((time) => time.idle));
    const [passed, unused] = [total - (this.total ?? 0), idle - (this.idle ?? 0)];
    Object.assign(this, { total, idle });
    const figures = { memory_usage: percent(1 - freemem() / totalmem()) };
    if (passed > 0) figures.cpu_usage = percent(1 - unused / passed);
    try {
      const disk = statfsSync(".");
      figures.disk_usage = percent(1 - disk.bavail / disk.blocks);
    } catch {} // Node before 18.15
    return figures;
  }
}

const sum = (numbers) => numbers.reduce((one, other) => one + other, 0);
const percent = (share) => Math.round(1000 * Math.min(1, Math.max(0, share))) / 10;
const say = (text) => console.error(`${new Date().toISOString()} ${text}`);

/** Something that may be waited for again and again. */
function signal() {
  let raise, next;
  const renew = () => (next = new Promise((resolve) => (raise = resolve)));
  renew();
  return { next: () => next, raise: () => (raise(), renew()) };
}

/** AbortSignal.any() came with Node 20. */
function either(signals) {
  const controller = new AbortController();
  for (const one of signals) {
    if (one.aborted) controller.abort(one.reason);
    else one.addEventListener("abort", () => controller.abort(one.reason), { once: true, signal: controller.signal });
  }
  return controller.signal;
}

const MARK = randomBytes(12).toString("hex");
const MARKED = new RegExp(`"${MARK}(-?[0-9]+)"`, "g");

/** JSON in which a BigInt is a number like any other. */
function toJson(value) {
  return JSON.stringify(value, (_, part) => (typeof part === "bigint" ? MARK + part : part)).replace(MARKED, "$1");
}

/** Whole numbers beyond 2^53 become BigInts where Node can tell (21 and newer); before that they are rounded. */
function fromJson(text) {
  return JSON.parse(text, (_, part, context) => {
    const whole = typeof part === "number" && !Number.isSafeInteger(part) && /^-?[0-9]+$/.test(context?.source ?? "");
    return whole ? BigInt(context.source) : part;
  });
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await run(builtin).catch((error) => {
    say(error.message);
    process.exitCode = 1;
  });
}
