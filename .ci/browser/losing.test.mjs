// A network that goes away, with and without a word, and comes back.

import assert from "node:assert/strict";
import { test } from "node:test";

import { castVotes, createPoll, open, prepare, until, visitor } from "./support.mjs";

prepare();

/** Milliseconds in which a browser that says that it has no network is believed: many times what it takes. */
const PROMPT = 5000;
/** Milliseconds of silence after which the server is asked, and more, but less than it has for its answer. */
const SILENCE = 25_000;
/** Milliseconds in which it has to answer, and more. */
const ANSWER = 15_000;
/** What a browser says in its console while there is no network. */
const LOST = { expected: [/ERR_INTERNET_DISCONNECTED|ERR_FAILED|WebSocket/, /\/live|\/polls|\/leaderboard/] };
const VIEWS = [
  ["poll", (poll) => `/p/${poll.id}`],
  ["presentation", (poll) => `/p/${poll.id}/present`],
  ["frame", (poll) => `/p/${poll.id}/embed`],
  ["leaderboard", () => "/top"],
  ["list", () => "/"],
];

/** A visitor whose page leaves nothing to chance: it asks after the whole of the silence. */
async function steadyVisitor(context, ...options) {
  const page = await visitor(context, ...options);
  await page.addInitScript(() => {
    Math.random = () => 0;
  });
  return page;
}

const isLive = (page) => page.locator('.phase[data-phase="live"]').waitFor();
const share = (page, option) => page.locator(".option", { hasText: option }).locator(".numbers strong");

/**
 * The way of the sockets of a page to the server, in which something is broken: `set("silent")`, where nothing arrives any more and
 * nobody is told; `set("refused")`, where those that are open are silent, too, and no other one can be had; `set("whole")`.
 */
async function wayOf(page) {
  const made = [];
  let state = "whole";
  let mend = null;
  let mended = Promise.resolve();
  await page.routeWebSocket(/\/live/, async (socket) => {
    made.push(socket);
    if (state === "refused") {
      await socket.close();
      return;
    }
    // One that is not whole does not open.
    await mended;
    const server = socket.connectToServer();
    server.onMessage((message) => state === "whole" && socket.send(message));
    socket.onMessage((message) => state === "whole" && server.send(message));
  });
  return {
    made,
    set(next) {
      state = next;
      mend?.();
      mended = next === "whole" ? Promise.resolve() : new Promise((resolve) => (mend = resolve));
    },
  };
}

for (const [view, path] of VIEWS) {
  test(`a browser that has lost its network says so at once, and is live again at once (${view})`, async (context) => {
    const poll = await createPoll({ question: "Gone offline?", options: ["Yes", "No"] });
    const page = await steadyVisitor(context, LOST);
    const way = await wayOf(page);
    await open(page, path(poll));
    await isLive(page);
    way.set("refused");
    await page.context().setOffline(true);
    await page.locator(".phase", { hasText: "You are offline" }).waitFor({ timeout: PROMPT });
    way.set("whole");
    await page.context().setOffline(false);
    await page.locator('.phase[data-phase="live"]').waitFor({ timeout: PROMPT });
    assert.ok(way.made.length > 1);
  });
}

test("where a browser without a network gets no answer at all, that is said soon as well", async (context) => {
  const poll = await createPoll({ question: "No answer?", options: ["Yes", "No"] });
  const page = await steadyVisitor(context, LOST);
  const way = await wayOf(page);
  await open(page, `/p/${poll.id}`);
  await isLive(page);
  way.set("silent");
  await page.route(/\/polls\/[^/]+$/, () => {});
  await page.evaluate(() => {
    Object.defineProperty(navigator, "onLine", { value: false, configurable: true });
    dispatchEvent(new Event("offline"));
  });
  await page.locator(".phase", { hasText: "You are offline" }).waitFor({ timeout: PROMPT });
});

test("a long time without a network makes nobody wait longer when it is back", async (context) => {
  const poll = await createPoll({ question: "Long gone?", options: ["Yes", "No"] });
  const page = await steadyVisitor(context, LOST);
  await page.clock.install();
  const way = await wayOf(page);
  await open(page, `/p/${poll.id}`);
  await isLive(page);
  await page.context().setOffline(true);
  way.set("refused");
  await page.locator(".phase", { hasText: "You are offline" }).waitFor({ timeout: PROMPT });
  await page.clock.runFor(10 * 60_000);
  await castVotes(poll, [1, 0]);
  // The first attempt fails, as where a network is there before the way through it.
  const before = way.made.length;
  await page.context().setOffline(false);
  await until(() => way.made.length > before);
  way.set("whole");
  await page.clock.runFor(1000);
  await page.locator('.phase[data-phase="live"]').waitFor({ timeout: PROMPT });
  await share(page, "Yes").getByText("100%").waitFor();
});

test("a connection that leads nowhere is noticed in its silence, and made anew when there is a way", async (context) => {
  const poll = await createPoll({ question: "Unplugged?", options: ["Yes", "No"] });
  const page = await steadyVisitor(context, LOST);
  await page.clock.install();
  const way = await wayOf(page);
  await open(page, `/p/${poll.id}`);
  await isLive(page);
  // As when a cable is pulled behind the next box: nobody is told, and nothing arrives.
  way.set("silent");
  await page.route(/\/polls\/[^/]+$/, () => {});
  await page.clock.runFor(SILENCE);
  await page.clock.runFor(ANSWER);
  await page.locator(".phase", { hasText: "Connection lost" }).waitFor();
  await page.unroute(/\/polls\/[^/]+$/);
  way.set("whole");
  await castVotes(poll, [3, 1]);
  await page.clock.runFor(ANSWER);
  await isLive(page);
  await share(page, "Yes").getByText("75%").waitFor();
});

test("where the server answers and its socket does not, the socket is replaced", async (context) => {
  const poll = await createPoll({ question: "Half gone?", options: ["Yes", "No"] });
  const page = await steadyVisitor(context);
  await page.clock.install();
  const way = await wayOf(page);
  await open(page, `/p/${poll.id}`);
  await isLive(page);
  way.set("silent");
  await castVotes(poll, [3, 1]);
  await page.clock.runFor(SILENCE);
  await share(page, "Yes").getByText("75%").waitFor();
  way.set("whole");
  await page.clock.runFor(ANSWER);
  await until(() => way.made.length > 1);
  await isLive(page);
});

test("a socket that is quiet because nothing happens is left alone", async (context) => {
  const poll = await createPoll({ question: "Quiet?", options: ["Yes", "No"] });
  const page = await steadyVisitor(context);
  await page.clock.install();
  const way = await wayOf(page);
  await open(page, `/p/${poll.id}`);
  await isLive(page);
  for (let rounds = 0; rounds < 4; rounds += 1) {
    const asked = page.waitForResponse(/\/polls\/[^/]+$/);
    await page.clock.runFor(SILENCE);
    await (await asked).finished();
    // What is asked after it is answered after it: the page has taken the answer by then.
    await page.evaluate(async () => (await fetch("/favicon.svg")).text());
  }
  assert.equal(way.made.length, 1);
  assert.equal(await page.locator(".phase").getAttribute("data-phase"), "live");
});

test("a vote on a connection that leads nowhere is sent again under its name, and counts once", async (context) => {
  const poll = await createPoll({ question: "Into the void?", options: ["Yes", "No"] });
  const page = await steadyVisitor(context, LOST);
  await page.clock.install();
  await open(page, `/p/${poll.id}`);
  const names = [];
  await page.route(/\/vote$/, async (route) => {
    names.push(route.request().postDataJSON().vote_id);
    if (names.length > 1) {
      await route.continue();
    }
  });
  await page.locator(".option", { hasText: "Yes" }).click();
  await page.getByRole("button", { name: "Vote", exact: true }).click();
  await until(() => names.length === 1);
  await page.clock.runFor(SILENCE);
  await page.locator('.outcome[data-outcome="counted"]').waitFor();
  assert.deepEqual(names, [names[0], names[0]]);
});
