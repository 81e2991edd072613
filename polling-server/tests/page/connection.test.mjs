import assert from "node:assert/strict";
import { test } from "node:test";

import { pauseAfter, pauseSaid } from "../../src/page/assets/backoff.js";
import { POLL_AFTER, START, WELL_AFTER, after, phaseSaid } from "../../src/page/assets/connection.js";

const run = (state, ...events) =>
  events.reduce((state, event) => after(state, typeof event === "string" ? { type: event } : event), state);
const failed = { type: "closed", lasted: 0 };

test("pauses double up to a bound, and differ by chance", () => {
  assert.deepEqual(
    [1, 2, 3, 4].map((failures) => pauseAfter(failures, 1)),
    [500, 1000, 2000, 4000],
  );
  assert.deepEqual(
    [1, 2, 3, 4].map((failures) => pauseAfter(failures, 0)),
    [250, 500, 1000, 2000],
  );
  assert.equal(pauseAfter(1000, 1), 15_000);
  for (let failures = 1; failures < 50; failures += 1) {
    const pause = pauseAfter(failures);
    assert.ok(pause >= pauseAfter(failures, 0) && pause <= pauseAfter(failures, 1), `${failures}: ${pause}`);
  }
});

test("a server that stops says when to come back", () => {
  assert.equal(pauseSaid("the server is stopping; retry: 1234"), 1234);
  assert.equal(pauseSaid("retry: 999999"), 15_000);
  for (const reason of ["", "the poll is gone", "retry: soon"]) {
    assert.equal(pauseSaid(reason), null);
  }
});

test("a socket that opens is live", () => {
  assert.equal(run(START, "opened").phase, "live");
});

test("after some failures in a row the server is asked in the old way, until a socket opens", () => {
  let state = START;
  for (let failures = 1; failures < POLL_AFTER; failures += 1) {
    state = run(state, failed);
    assert.deepEqual(state, { phase: "waiting", failures });
    state = run(state, "retry");
    assert.equal(state.phase, "connecting");
  }
  state = run(state, failed);
  assert.equal(state.phase, "polling");
  assert.equal(run(state, "retry").phase, "polling");
  assert.equal(run(state, "retry", "opened").phase, "live");
});

test("a socket that is closed soon after it opened is a failure, and one that was well is not held against the next", () => {
  const state = run(START, failed, "retry", "opened");
  assert.equal(run(state, failed).failures, 2);
  assert.equal(run(state, { type: "closed", lasted: 59_000 }).failures, 2);
  assert.equal(run(state, { type: "closed", lasted: WELL_AFTER }).failures, 1);
});

test("sockets that are cut again and again lead to growing pauses, and to asking", () => {
  let state = START;
  for (let failures = 1; failures < 10; failures += 1) {
    state = run(state, "opened", { type: "closed", lasted: 30_000 }, "retry");
    assert.equal(state.failures, failures);
  }
  assert.equal(state.phase, "polling");
});

test("what failed without a network is not held against one that is there again", () => {
  assert.deepEqual(run(START, failed, failed, failed, failed, "online"), START);
  const live = run(START, failed, "opened");
  assert.equal(run(live, "online"), live);
});

test("of a network that is gone is told only what is lost", () => {
  const said = (isOnline, ...events) => phaseSaid(run(START, ...events), isOnline);
  assert.deepEqual([said(false), said(false, "opened")], ["connecting", "live"]);
  for (const lost of [
    ["opened", failed],
    ["opened", failed, "retry"],
    [failed, failed, failed, failed],
  ]) {
    assert.equal(said(false, ...lost), "offline");
    assert.notEqual(said(true, ...lost), "offline");
  }
  assert.equal(said(false, failed, "retry", "opened"), "live");
  assert.equal(said(false, failed, "ended"), "ended");
});

test("the end is the end", () => {
  assert.equal(run(START, "ended", "opened", failed, "retry").phase, "ended");
});
