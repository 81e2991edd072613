import assert from "node:assert/strict";
import { test } from "node:test";

import { keyOf, movementOf, ranksOf } from "../../src/page/assets/board.js";
import { areShown, isNewer, leaders, positionOf, withAnswer, withFrame } from "../../src/page/assets/results.js";
import { choicesOf, hasVoted, isUnanswered, modeOf } from "../../src/page/assets/standing.js";

const POLL = "0190d1f0-0000-7000-8000-000000000001";

function poll(votes = [1, 2], { epoch = 1, version = 5, voters = 3, ...more } = {}) {
  const options = votes.map((count, index) => ({
    id: index + 1,
    text: `option ${index + 1}`,
    ...(count === null ? {} : { votes: count, share: count / voters }),
  }));
  return { id: POLL, state: "open", allow_change: false, results: { epoch, version, voters, options }, ...more };
}

function frame(votes, { epoch = 1, version = 6, voters = 4, state = "open" } = {}) {
  return {
    type: "results",
    poll_id: POLL,
    epoch,
    version,
    state,
    voters,
    ...(votes && { options: votes.map((count, index) => ({ id: index + 1, votes: count })) }),
  };
}

test("a newer frame changes votes, shares, voters and state, and keeps the texts", () => {
  const before = poll();
  const after = withFrame(before, frame([1, 3], { state: "closed" }));
  assert.deepEqual(after.results.options, [
    { id: 1, text: "option 1", votes: 1, share: 0.25 },
    { id: 2, text: "option 2", votes: 3, share: 0.75 },
  ]);
  assert.deepEqual([after.state, after.results.voters, positionOf(after), after.isOutdated], ["closed", 4, "1.6", false]);
  assert.equal(before.results.options[1].votes, 2, "nothing is changed in place");
});

test("a frame that is older, the same, or of another poll is no news", () => {
  const before = poll();
  for (const old of [
    frame([9, 9], { version: 5 }),
    frame([9, 9], { epoch: 0, version: 99 }),
    { ...frame([9, 9]), poll_id: "other" },
    { type: "viewers", viewers: 3 },
  ]) {
    assert.equal(withFrame(before, old), before);
  }
});

test("a greater epoch is newer, whatever its version", () => {
  assert.ok(isNewer({ epoch: 2, version: 1 }, { epoch: 1, version: 100 }));
  assert.equal(withFrame(poll(), frame([0, 0], { epoch: 2, version: 1, voters: 0 })).results.options[0].share, 0);
});

test("a frame without votes leaves those that are shown, and says that they have to be asked for", () => {
  const after = withFrame(poll(), frame(null));
  assert.deepEqual([after.results.options[1].votes, after.isOutdated, areShown(after)], [2, true, true]);
  const hidden = withFrame(poll([null, null]), frame(null));
  assert.deepEqual([hidden.isOutdated, areShown(hidden), hidden.results.voters], [false, false, 4]);
});

test("hidden results appear with a frame that has them", () => {
  assert.ok(areShown(withFrame(poll([null, null]), frame([1, 3]))));
});

test("an answer replaces what is not newer than it", () => {
  const shown = poll([1, 2], { version: 7 });
  assert.equal(withAnswer(shown, poll([1, 1], { version: 6 })), shown);
  const same = poll([1, 2], { version: 7 });
  assert.equal(withAnswer(poll([null, null], { version: 7 }), same), same);
});

test("those with the most votes lead, and nobody without votes", () => {
  assert.deepEqual(
    leaders(poll([2, 2])).map((option) => option.id),
    [1, 2],
  );
  assert.deepEqual(leaders(poll([0, 0])), []);
  assert.deepEqual(leaders(poll([null, null])), []);
});

const entry = (rank, option, more = {}) => ({ rank, poll_id: POLL, option_id: option, ...more });

test("places are compared with those that were seen here", () => {
  const former = ranksOf([entry(1, 1), entry(2, 2)]);
  assert.equal(former.get(keyOf(entry(9, 2))), 2);
  assert.deepEqual(movementOf(entry(1, 2, { previous_rank: null }), former), { kind: "up", places: 1 });
  assert.deepEqual(movementOf(entry(4, 1, { previous_rank: 3 }), former), { kind: "down", places: 3 });
  assert.deepEqual(movementOf(entry(2, 2, { previous_rank: 1 }), former), { kind: "same", places: 0 });
  assert.equal(movementOf(entry(3, 3), null).kind, "same", "at the first look nothing has moved");
});

test("where an entry was that was not seen here, the server says", () => {
  const former = ranksOf([entry(1, 1), entry(2, 2)]);
  assert.deepEqual(movementOf(entry(2, 3, { previous_rank: 12 }), former), { kind: "up", places: 10 });
  assert.equal(movementOf(entry(2, 3, { previous_rank: null }), former).kind, "new");
  assert.equal(movementOf(entry(2, 3), former).kind, "new", "a server that does not say");
});

test("a ballot is for what the poll and the past of this visitor allow", () => {
  const counted = { status: "counted", choices: [2] };
  assert.equal(modeOf(poll(), null, false), "vote");
  assert.equal(modeOf(poll(), counted, false), "voted");
  assert.equal(modeOf(poll(), counted, true), "voted", "a vote is final");
  assert.equal(modeOf(poll([1, 2], { allow_change: true }), counted, true), "change");
  assert.equal(modeOf(poll([1, 2], { state: "closed" }), null, false), "closed");
  for (const status of ["unanswered", "late", "invalid", "retracted"]) {
    assert.equal(modeOf(poll(), { status, choices: [1] }, false), "vote", status);
  }
});

test("a choice is shown as one's own only where it is known to stand", () => {
  assert.deepEqual(choicesOf({ status: "counted", choices: [2] }), [2]);
  assert.deepEqual(choicesOf({ status: "pending", choices: [2] }), [2]);
  assert.deepEqual(choicesOf({ status: "duplicate", choices: [2] }), []);
  assert.deepEqual(choicesOf({ status: "unanswered", choices: [2] }), [2], "to be sent again");
  assert.deepEqual(choicesOf(null), []);
  assert.ok(hasVoted({ status: "already" }) && !hasVoted(null));
});

test("a vote stands until its retraction is answered", () => {
  const retracting = { status: "counted", choices: [2], retraction: "a name" };
  assert.ok(isUnanswered(retracting) && isUnanswered({ status: "unanswered", choices: [2] }));
  assert.ok(!isUnanswered({ status: "counted", choices: [2] }) && !isUnanswered(null));
  assert.deepEqual([hasVoted(retracting), choicesOf(retracting)], [true, [2]]);
});
