import assert from "node:assert/strict";
import { test } from "node:test";

import { untilNow } from "../../src/page/assets/history.js";

const points = ["12:00:00Z", "12:30:00Z", "13:00:00Z"].map((time, voters) => ({ at: `2026-11-24T${time}`, voters }));
const lastAt = (now) => untilNow(points, Date.parse(`2026-11-24T${now}`)).at(-1).at;

test("nothing is drawn in the future", () => {
  assert.equal(lastAt("12:31:00Z"), "2026-11-24T12:31:00.000Z");
  assert.deepEqual(untilNow(points, Date.parse("2026-11-24T12:31:00Z")).slice(0, 2), points.slice(0, 2));
  assert.equal(untilNow(points, Date.parse("2026-11-24T12:31:00Z")).at(-1).voters, 2);
});

test("what is over stays where it was, and so does all for a clock that is wrong", () => {
  for (const now of ["13:00:00Z", "15:00:00Z", "12:30:00Z", "11:00:00Z"]) {
    assert.equal(lastAt(now), points.at(-1).at, now);
  }
  for (const few of [[], points.slice(0, 1)]) {
    assert.deepEqual(untilNow(few, 0), few);
  }
});
