import assert from "node:assert/strict";
import { test } from "node:test";

import { staying } from "../../src/page/assets/arrange.js";

const stay = (places, held = -1) => [...staying(places, held)];

test("where nothing has moved all stay, and where one has moved all others", () => {
  assert.deepEqual(stay([]), []);
  assert.deepEqual(stay([0, 1, 2]), [0, 1, 2]);
  assert.deepEqual(stay([3, 0, 1, 2]), [0, 1, 2]);
  assert.deepEqual(stay([1, 2, 3, 0]), [1, 2, 3]);
  assert.deepEqual(stay([0, 3, 1, 2, 4]), [0, 1, 2, 4]);
});

test("what somebody is in stays, whatever else has to move for it", () => {
  assert.deepEqual(stay([3, 0, 1, 2], 3), [3]);
  assert.deepEqual(stay([2, 0, 3, 1, 4], 2), [2, 3, 4]);
  assert.deepEqual(stay([2, 1, 0], 1), [1]);
  assert.deepEqual(stay([0, 1], 7), [0, 1], "it was not in the list before");
});
