import assert from "node:assert/strict";
import { test } from "node:test";

import { speech } from "../../src/page/assets/speech.js";
import { throttle } from "../../src/page/assets/throttle.js";

/** A clock that is turned by hand, and what passed at which time. */
function clock() {
  let time = 0;
  let scheduled = null;
  const passed = [];
  return {
    passed,
    pass: (value) => passed.push([time, value]),
    now: () => time,
    later(act, rest) {
      assert.equal(scheduled, null);
      scheduled = { act, at: time + rest };
    },
    turn(to) {
      while (scheduled !== null && scheduled.at <= to) {
        const { act, at } = scheduled;
        [time, scheduled] = [at, null];
        act();
      }
      time = to;
    },
  };
}

test("a throttle passes the first at once, then the newest once in the interval", () => {
  const hand = clock();
  const say = throttle(1000, hand.pass, hand);
  say("a");
  hand.turn(200);
  say("b");
  hand.turn(900);
  say("c");
  assert.deepEqual(hand.passed, [[0, "a"]]);
  hand.turn(2500);
  say("d");
  assert.deepEqual(hand.passed, [
    [0, "a"],
    [1000, "c"],
    [2500, "d"],
  ]);
});

test("results never take the place of what is said once, and come after it", () => {
  const hand = clock();
  const { say, sayStanding } = speech(1000, hand.pass, hand);
  say("sending", "vote");
  sayStanding("1 voter");
  say("connected again", "connection");
  say("recorded", "vote");
  hand.turn(500);
  say("counted", "vote");
  sayStanding("2 voters");
  hand.turn(2500);
  sayStanding("3 voters");
  hand.turn(9000);
  assert.deepEqual(hand.passed, [
    [0, "sending"],
    [1000, "connected again"],
    [2000, "counted"],
    [3000, "3 voters"],
  ]);
  sayStanding("4 voters");
  say("copied");
  hand.turn(20_000);
  assert.deepEqual(hand.passed.slice(4), [
    [9000, "4 voters"],
    [10_000, "copied"],
  ]);
});
