import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { owner, theme, vote } from "../../src/page/assets/memory.js";

const refuse = () => {
  throw new Error("not here");
};

/** Storage that refuses to `read` or to `write`. */
function storage({ read = true, write = true } = {}) {
  const kept = new Map();
  return {
    getItem: read ? (key) => kept.get(key) ?? null : refuse,
    setItem: write ? (key, value) => kept.set(key, value) : refuse,
    removeItem: write ? (key) => kept.delete(key) : refuse,
  };
}

afterEach(() => {
  delete globalThis.localStorage;
});

test("what the browser refuses to keep is remembered while the page is open", () => {
  for (const [name, refusing] of Object.entries({
    none: undefined,
    forbidden: storage({ read: false, write: false }),
    full: storage({ write: false }),
  })) {
    globalThis.localStorage = refusing;
    assert.equal(owner.read(name), null);
    owner.write(name, "token");
    assert.deepEqual([owner.read(name), owner.isKept(name)], ["token", false], name);
    owner.write(name, null);
    assert.equal(owner.read(name), null, name);
  }
});

test("what the browser keeps is read from there, also once it has room again", () => {
  globalThis.localStorage = storage({ write: false });
  vote.write("poll", { status: "unanswered" });
  globalThis.localStorage = storage();
  vote.write("poll", { status: "counted" });
  owner.write("poll", "token");
  assert.deepEqual([vote.read("poll"), owner.isKept("poll")], [{ status: "counted" }, true]);
  // In another tab.
  localStorage.setItem("polls.owner.poll", JSON.stringify("other"));
  assert.equal(owner.read("poll"), "other");
  localStorage.setItem("polls.theme", "not ours");
  assert.equal(theme.read(), null);
});
