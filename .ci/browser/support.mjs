// A real server and a real browser for the tests of the page.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";

import { chromium } from "playwright-core";

const PROGRAM = process.env.POLLING_SERVER_PROGRAM ?? join(import.meta.dirname, "../../target/debug/polling-server");
const LISTEN = process.env.PAGE_LISTEN ?? "127.0.0.1:18090";
const ADMIN = process.env.PAGE_ADMIN_LISTEN ?? "127.0.0.1:18091";
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const SCREENSHOTS = process.env.PAGE_SCREENSHOTS;
/**
 * Without a sandbox because the checks run as root; without shared memory because containers have little; nothing in the background,
 * because a browser calls home otherwise.
 */
const FLAGS = [
  "--no-sandbox",
  "--disable-dev-shm-usage",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** Milliseconds that anything may take: many times what it needs. */
const PATIENCE = 20_000;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const ORIGIN = `http://${LISTEN}`;

/** A server on data of its own, that can be killed and started again. */
class Server {
  #data = mkdtempSync(join(tmpdir(), "polling-page-"));
  #process = null;

  async start() {
    const env = {
      RUST_LOG: "error",
      ...process.env,
      POLLING_LISTEN: LISTEN,
      POLLING_ADMIN_LISTEN: ADMIN,
      POLLING_DATA_DIR: this.#data,
    };
    this.#process = spawn(PROGRAM, { env, stdio: ["ignore", "ignore", "inherit"] });
    await until(async () => {
      assert.equal(this.#process.exitCode, null, "the server has ended");
      return (await fetch(`http://${ADMIN}/readyz`).catch(() => null))?.ok;
    });
  }

  /** Ends it without warning. */
  async kill() {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGKILL");
    await ended;
  }

  async remove() {
    await this.kill();
    rmSync(this.#data, { recursive: true });
  }
}

/** Waits until `condition` answers something true, at most as long as anything may take. */
export async function until(condition) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const answer = await condition();
    if (answer) {
      return answer;
    }
    assert.ok(Date.now() < deadline, `waited in vain: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export const server = new Server();
let browser;

/** Has a server and, unless `needsBrowser` says otherwise, a browser running for all tests of a file. */
export function prepare({ needsBrowser = true } = {}) {
  before(async () => {
    await server.start();
    if (needsBrowser) {
      browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
    }
  });
  after(async () => {
    await browser?.close();
    await server.remove();
  });
}

/**
 * A window of somebody of their own. When the test ends, it must have asked nobody but the server, and complained of nothing but
 * what `expected` names (by the address that failed).
 */
export async function visitor(context, { expected = [], origins = [ORIGIN], ...options } = {}) {
  const own = await browser.newContext({ locale: "en-GB", ...options });
  const complaints = [];
  const isExpected = (address) => expected.some((pattern) => pattern.test(address));
  own.on("weberror", (error) => complaints.push(String(error.error())));
  own.on("request", (request) => {
    const url = request.url();
    if (!origins.some((origin) => url.startsWith(`${origin}/`)) && !url.startsWith("blob:")) {
      complaints.push(`asked ${url}`);
    }
  });
  own.on("console", (message) => {
    if (
      message.type() === "error" &&
      !isExpected(message.location().url) &&
      !expected.some((pattern) => pattern.test(message.text()))
    ) {
      complaints.push(`${message.text()} (${message.location().url})`);
    }
  });
  context.after(async () => {
    await own.close();
    assert.deepEqual(complaints, []);
  });
  const page = await own.newPage();
  page.setDefaultTimeout(PATIENCE);
  return page;
}

/** Opens a path and waits until there is a view. */
export async function open(page, path) {
  await page.goto(ORIGIN + path);
  await page.locator("main h1").waitFor();
  return page;
}

async function send(method, path, body, token) {
  const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
  const answer = await fetch(ORIGIN + path, { method, headers, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.status === 204 ? null : answer.json();
}

export const createPoll = (draft) => send("POST", "/polls", draft);
export const deletePoll = (poll) => send("DELETE", `/polls/${poll.id}`, undefined, poll.owner_token);
export const closePoll = (poll) => send("POST", `/polls/${poll.id}/close`, undefined, poll.owner_token);

let voters = 0;

/** So many votes for each option, by people who were never seen before. */
export function castVotes(poll, counts) {
  const votes = counts.flatMap((count, index) =>
    Array.from({ length: count }, () => {
      voters += 1;
      return { choices: [index + 1], voter_id: `voter ${voters}` };
    }),
  );
  return send("POST", `/polls/${poll.id}/votes`, { votes });
}

/** What axe finds that keeps somebody out. */
export async function barriers(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join("; ")}`);
}

/** Keeps a picture of the page where the environment wants one. */
export async function picture(page, name, options = {}) {
  if (SCREENSHOTS) {
    mkdirSync(SCREENSHOTS, { recursive: true });
    await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), ...options });
  }
}
