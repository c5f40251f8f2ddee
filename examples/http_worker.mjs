// A pgtask worker over HTTP for Node 18 or newer, without packages: copy it, and put your tasks into TASKS.
//
// PGTASK_SERVER=http://127.0.0.1:8080 PGTASK_TOKEN=pgt_… node http_worker.mjs    (scope of the token: worker)

import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

const SERVER = process.env.PGTASK_SERVER ?? "http://127.0.0.1:8080";
const TOKEN = process.env.PGTASK_TOKEN;
const SLOTS = Number(process.env.PGTASK_SLOTS ?? 4);
const LEASE = Number(process.env.PGTASK_LEASE ?? 30);
const GRACE = Number(process.env.PGTASK_GRACE ?? 30);

// The server says no: 409, the job is no longer ours; 410, we are no longer a worker.
class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}
class Cancelled extends Error {}
class TimedOut extends Error {}

// Sends a request, again and again while the server is away or busy. All of them may be repeated.
async function call(path, content, { patient = true, timeout = 60, signal } = {}) {
  const body = JSON.stringify(content);
  for (;;) {
    const ended = new AbortController();
    const end = () => ended.abort();
    const timer = setTimeout(end, timeout * 1000);
    signal?.addEventListener("abort", end);
    try {
      const response = await fetch(`${SERVER}/api/v1${path}`, {
        method: "POST",
        headers: { Authorization: `Bearer ${TOKEN}`, "Content-Type": "application/json" },
        body,
        signal: ended.signal,
      });
      const text = await response.text();
      if (response.ok) return text ? JSON.parse(text) : null;
      if (response.status < 500 && response.status !== 429) throw new Refused(response.status, text);
    } catch (error) {
      if (error instanceof Refused || signal?.aborted) throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
    }
    if (!patient) return null;
    await sleep(100 + Math.random() * 1900);
  }
}

// What a task may ask and tell while it runs. `signal` is aborted when it is to stop: hand it on to what waits.
class Job {
  constructor(workerId, given) {
    Object.assign(this, given);
    this.owner = { worker_id: workerId, attempt: this.attempt };
    this.key = `${this.id}/${this.attempt}`;
    this.lost = this.completed = false;
    this.stopper = new AbortController();
    this.signal = this.stopper.signal;
    if (given.cancel) this.stop(new Cancelled("it was asked to stop"));
  }

  stop(reason) {
    this.stopper.abort(reason);
  }

  async progress(percent, message) {
    const told = await this.tell("progress", { percent, message });
    if (told.cancel) this.stop(new Cancelled("it was asked to stop"));
    this.signal.throwIfAborted();
  }

  tell(what, more) {
    return call(`/jobs/${this.id}/${what}`, { ...this.owner, ...more });
  }

  // Runs it, and tells how it ended. A task that does not heed its signal is left behind.
  async run() {
    const began = performance.now();
    const late = new TimedOut(`it ran longer than its timeout of ${this.timeout} s`);
    const timer = this.timeout === null ? undefined : setTimeout(() => this.stop(late), this.timeout * 1000);
    const stopped = new Promise((_, reject) => {
      const refuse = () => reject(this.signal.reason);
      this.signal.aborted ? refuse() : this.signal.addEventListener("abort", refuse);
    });
    let what = "complete";
    let ending;
    try {
      ending = { result: (await Promise.race([TASKS[this.task](this, this.payload), stopped])) ?? null };
      // What is no JSON is the job's own failure.
      JSON.stringify(ending);
    } catch (error) {
      const cause = this.signal.aborted ? this.signal.reason : error;
      const outcome = cause instanceof Cancelled ? "cancelled" : cause instanceof TimedOut ? "timeout" : "failed";
      what = "fail";
      ending = { error: String(cause.message ?? cause), error_type: cause.name, traceback: cause.stack, outcome };
    } finally {
      clearTimeout(timer);
    }
    try {
      if (!this.lost) {
        const told = await this.tell(what, { ...ending, seconds: (performance.now() - began) / 1000 });
        this.completed = told.outcome === "completed";
      }
    } catch (error) {
      console.log(`job ${this.id}: ${error.message}`);
      if ([400, 413, 422].includes(error.status)) {
        // The server cannot read it, or it is too large. Not told, the job would run again and again.
        await this.tell("fail", { error: `The server refused how it ended: ${error.message}`, error_type: "Refused" });
      }
    }
  }
}

class Worker {
  jobs = new Map();
  stopping = new AbortController();
  ended = () => {};

  async register() {
    const about = { tasks: Object.keys(TASKS), slots: SLOTS, lease: LEASE, pid: process.pid, host: hostname() };
    this.id = (await call("/workers/register", about)).worker_id;
    this.counts = { completed: 0, unsuccessful: 0 };
    console.log(`worker ${this.id} ready`);
  }

  // A job is named until its end is acknowledged.
  async beat() {
    const jobs = [...this.jobs.values()].map(({ id, attempt }) => ({ id, attempt }));
    let told = null;
    try {
      const about = { worker_id: this.id, jobs, ...this.counts };
      told = await call("/workers/heartbeat", about, { patient: false, timeout: LEASE / 3 });
    } catch (error) {
      console.log(`worker ${this.id}: ${error.message}`);
      if ([404, 410].includes(error.status)) await this.beginAnew();
      return;
    }
    for (const one of told?.cancel ?? []) this.find(one)?.stop(new Cancelled("it was asked to stop"));
    for (const one of told?.lost ?? []) this.drop(this.find(one));
    if (told?.stop) this.stopping.abort();
    return told;
  }

  // Our jobs are others' now. A server that does not take us either is asked again at the next heartbeat.
  async beginAnew() {
    for (const job of this.jobs.values()) this.drop(job);
    await this.register().catch((error) => console.log(`not registered: ${error.message}`));
  }

  async live() {
    for (;;) {
      // One that was not answered, or refused because there are too many requests, is sent again soon.
      const told = await this.beat();
      await sleep((LEASE * 1000) / (told === null ? 30 : 3));
    }
  }

  find({ id, attempt }) {
    return this.jobs.get(`${id}/${attempt}`);
  }

  drop(job) {
    if (!job) return;
    job.lost = true;
    job.stop(new Cancelled("it was lost"));
  }

  async fetch() {
    const body = { worker_id: this.id, limit: SLOTS - this.jobs.size, wait: 20 };
    let told = null;
    try {
      told = await call("/workers/fetch", body, { patient: false, signal: this.stopping.signal });
    } catch {
      // Refused until the next heartbeat, or stopped: what it may still bring goes back.
    }
    for (const given of told?.jobs ?? []) {
      const job = new Job(this.id, given);
      this.jobs.set(job.key, job);
      job
        .run()
        .catch((error) => console.log(`job ${job.id}: ${error.message}`))
        .finally(() => {
          this.counts[job.completed ? "completed" : "unsuccessful"] += 1;
          this.jobs.delete(job.key);
          this.ended();
        });
    }
    if (!this.stopping.signal.aborted) await sleep(1000 * (told ? told.fetch_again_in : 1));
  }

  // Fetches until it is told to stop, then lets the running jobs end.
  async work() {
    for (const name of ["SIGTERM", "SIGINT"]) process.on(name, () => this.stopping.abort());
    await this.register();
    this.live();
    while (!this.stopping.signal.aborted) {
      if (this.jobs.size < SLOTS) await this.fetch();
      else await Promise.race([new Promise((resolve) => (this.ended = resolve)), sleep(200)]);
    }
    const deadline = Date.now() + GRACE * 1000;
    while (this.jobs.size && Date.now() < deadline) await sleep(50);
    await call("/workers/deregister", { worker_id: this.id });
    process.exit();
  }
}

const TASKS = {
  // The sum of two numbers.
  add: async (job, { a, b }) => a + b,

  // Fails so many times.
  flaky: async (job, { failures }) => {
    if (job.retry_count < failures) throw new RangeError(`failure ${job.retry_count + 1} of ${failures}`);
    return "at last";
  },

  // Counts, slowly.
  count: async (job, { to, pause = 0.1 }) => {
    for (let number = 0; number < to; number += 1) {
      await job.progress((100 * number) / to, `${number} of ${to}`);
      await sleep(pause * 1000, undefined, { signal: job.signal });
    }
    return to;
  },
};

await new Worker().work();
