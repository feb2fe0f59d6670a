// Submit a task over HTTP from TypeScript, and lose none.
//
// Three rules: give every submission a key that follows from the work; send it again, unchanged, until there is an
// answer; treat a 4xx other than 408, 409 `idempotency_in_flight` and 429 as final. Node 22.18 and newer run this
// file as it is. For an older one compile it: `tsc -p examples/typescript --outDir build`.
import type { Operations, Problem, RememberedTask, SubmitBody, TaskView } from "./leaseq.js";

declare const process: { argv: string[]; exitCode?: number };

const PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
const REQUEST_SECONDS = 10;
const HELD_SECONDS = 25;

type Name = keyof Operations;

export interface Settings {
  apiKey?: string;
  /** For how long a call is repeated. */
  retrySeconds?: number;
}

/** A problem that the service answered with. `code` is stable. */
export class LeaseqError extends Error {
  readonly problem: Problem;
  readonly retryAfterSeconds: number | null;

  constructor(problem: Problem, retryAfterSeconds: number | null) {
    super(`${problem.code}: ${problem.detail}`);
    this.problem = problem;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export class Client {
  readonly #address: string;
  readonly #headers: Record<string, string>;
  readonly #retryMs: number;

  constructor(address: string, settings: Settings = {}) {
    this.#address = address.replace(/\/+$/, "");
    this.#headers = settings.apiKey === undefined ? {} : { Authorization: `Bearer ${settings.apiKey}` };
    this.#retryMs = (settings.retrySeconds ?? 30) * 1_000;
  }

  /** Submit a task. With the same key it is the same task. */
  submit(task: SubmitBody, key: string): Promise<TaskView | RememberedTask> {
    const quoted = `"${key.replace(/["\\]/g, "\\$&")}"`;
    return this.#call("submit", "POST", "/api/tasks", { body: task, headers: { "Idempotency-Key": quoted } });
  }

  /** The task when it has ended, or as it is after `seconds`. */
  async wait(taskId: string, seconds = 30): Promise<TaskView> {
    const endsAt = performance.now() + seconds * 1_000;
    for (;;) {
      const begun = performance.now();
      const left = Math.max(0, endsAt - begun) / 1_000;
      const query = { wait: Math.min(left, HELD_SECONDS) };
      const task = await this.#call("show", "GET", `/api/tasks/${encodeURIComponent(taskId)}`, { query });
      if (task.finished_at !== null || left === 0) return task;
      // A service that is about to stop answers early.
      if (performance.now() - begun < query.wait * 500) await sleep(PAUSE_MS);
    }
  }

  /** Send a request until it is answered. All of them are safe to repeat: reads, and submissions with a key. */
  async #call<N extends Name>(
    _name: N,
    method: Operations[N]["method"],
    path: string,
    request: { query?: Operations[N]["query"]; body?: Operations[N]["body"]; headers?: Record<string, string> },
  ): Promise<Operations[N]["answer"]> {
    const endsAt = performance.now() + this.#retryMs;
    const query = Object.entries(request.query ?? {}).map(([name, value]) => [name, String(value)]);
    const address = `${this.#address}${path}${query.length ? `?${new URLSearchParams(query)}` : ""}`;
    for (let tried = 1; ; tried++) {
      let failure: unknown;
      let pause = Math.random() * Math.min(PAUSE_MS * 2 ** (tried - 1), LONGEST_PAUSE_MS);
      try {
        return await this.#send(address, method, request.body, request.headers);
      } catch (error) {
        if (error instanceof LeaseqError && !mayRepeat(error.problem)) throw error;
        if (error instanceof LeaseqError) pause += (error.retryAfterSeconds ?? 0) * 1_000;
        failure = error; // perhaps it was recorded, perhaps not: the key makes sending it again safe
      }
      if (performance.now() + pause > endsAt) throw failure;
      await sleep(pause);
    }
  }

  async #send<T>(address: string, method: string, body: unknown, headers?: Record<string, string>): Promise<T> {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), (REQUEST_SECONDS + HELD_SECONDS) * 1_000);
    try {
      const answer = await fetch(address, {
        method,
        signal: controller.signal,
        redirect: "error",
        headers: { ...this.#headers, ...headers, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      if (answer.ok) return (await answer.json()) as T;
      const retryAfter = answer.headers.get("Retry-After");
      throw new LeaseqError(await problemOf(answer), retryAfter === null ? null : Number(retryAfter) || 0);
    } finally {
      clearTimeout(timer);
    }
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function mayRepeat(problem: Problem): boolean {
  return [408, 429].includes(problem.status) || problem.status >= 500 || problem.code === "idempotency_in_flight";
}

/** The problem in an answer. A proxy in between answers with something else. */
async function problemOf(answer: Response): Promise<Problem> {
  const text = await answer.text();
  if (answer.headers.get("Content-Type") === "application/problem+json") return JSON.parse(text) as Problem;
  const { status, statusText } = answer;
  return { type: "", title: statusText, status, detail: text.slice(0, 200), code: "foreign_answer", instance: "" };
}

async function main(address: string): Promise<void> {
  const client = new Client(address);
  const report: SubmitBody = { type: "monthly_report", payload: { month: "2026-09" } };
  const first = await client.submit(report, "report-2026-09");
  const again = await client.submit(report, "report-2026-09");
  console.log("the same task:", first.task_id === again.task_id);
  const task = await client.wait(first.task_id, 60);
  console.log(task.state, JSON.stringify(task.result));
  try {
    await client.submit({ ...report, payload: { month: "2026-10" } }, "report-2026-09");
  } catch (error) {
    if (!(error instanceof LeaseqError)) throw error;
    console.log(error.problem.status, error.problem.code);
  }
}

main(process.argv[2] ?? "http://127.0.0.1:8000").catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
