import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { distance, list, moment, number, percent } from "../../src/page/assets/format.js";
import { codeOf, grouped, idOf, pollPath } from "../../src/page/assets/link.js";
import { routeOf } from "../../src/page/assets/router.js";
import { LANGUAGES, detailText, preferred, speak, text } from "../../src/page/assets/texts.js";

globalThis.document ??= { documentElement: {} };
const ID = "01a20d8e-d1ad-7141-9f50-168628552bd8";

test("every language has every text, with the same values in it", () => {
  const [en, ...others] = Object.values(LANGUAGES);
  const valuesOf = (entry) => [...new Set(JSON.stringify(entry).match(/\{\w+\}/g) ?? [])].sort();
  for (const other of others) {
    assert.deepEqual(Object.keys(other).sort(), Object.keys(en).sort());
    for (const [name, entry] of Object.entries(en)) {
      assert.deepEqual(valuesOf(other[name]), valuesOf(entry), name);
      assert.equal(typeof other[name], typeof entry, name);
    }
  }
});

test("a language is what was chosen, or what the browser prefers, or English", () => {
  assert.equal(preferred("de", ["en-US"]), "de");
  assert.equal(preferred(null, ["fr-FR", "de-AT", "en"]), "de");
  assert.equal(preferred(null, ["fr"]), "en");
});

test("texts count, and write numbers as their language does", () => {
  speak("en");
  assert.equal(text("count.votes", { count: 1 }), "1 vote");
  assert.equal(text("count.votes", { count: 0 }), "0 votes");
  speak("de");
  assert.equal(text("count.votes", { count: 12_345 }), "12.345 Stimmen");
  assert.equal(detailText("must have 1 to 500 characters after trimming"), "Braucht 1 bis 500 Zeichen.");
  assert.equal(detailText("something new"), "something new");
  speak("en");
  assert.throws(() => text("no.such.text"));
});

test("numbers, shares, times and lists are written in the way of the language", () => {
  assert.equal(number(1_234_567, "de"), "1.234.567");
  assert.equal(percent(0.5, "en"), "50%");
  assert.equal(percent(0.004, "en"), "0.4%");
  assert.equal(percent(0.9996, "en"), "100%");
  assert.equal(percent(0, "en"), "0%");
  assert.equal(percent(0.5, "de"), "50\u00a0%");
  const now = Date.parse("2026-11-24T12:00:00Z");
  assert.equal(distance("2026-11-24T14:00:00Z", now, "en"), "in 2 hours");
  assert.equal(distance("2026-11-23T12:00:00Z", now, "de"), "gestern");
  assert.equal(distance("2026-11-24T12:00:00Z", now, "en"), "now");
  assert.match(moment("2026-11-24T12:00:00Z", "en-GB"), /24 Nov 2026/);
  assert.equal(list(["a", "b", "c"], "de"), "a, b und c");
});

test("a short name leads back to its poll, however it is typed", () => {
  const code = codeOf(ID);
  assert.match(code, /^[0-9a-hjkmnp-tv-z]{26}$/);
  for (const typed of [
    code,
    code.toUpperCase(),
    grouped(code),
    code.replaceAll("0", "o").replaceAll("1", "L"),
    ID,
    ID.toUpperCase(),
  ]) {
    assert.equal(idOf(typed), ID, typed);
  }
  for (const end of ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]) {
    assert.equal(idOf(codeOf(end)), end);
  }
  for (const wrong of ["", "zzz", `${code}0`, code.slice(1), `8${code.slice(1)}`, `${code.slice(1)}u`]) {
    assert.equal(idOf(wrong), null, wrong);
  }
});

test("addresses lead to views", () => {
  assert.deepEqual(routeOf("/"), { name: "home" });
  assert.deepEqual(routeOf("/new"), { name: "create" });
  assert.deepEqual(routeOf(pollPath(ID)), { name: "poll", id: ID });
  assert.deepEqual(routeOf(`/p/${ID}`), { name: "poll", id: ID });
  assert.deepEqual(routeOf(pollPath(ID, "present")), { name: "present", id: ID });
  assert.deepEqual(routeOf(pollPath(ID, "embed")), { name: "embed", id: ID });
  for (const nowhere of ["/p/", "/p/zzz", pollPath(ID, "constructor"), "/docs", "/polls"]) {
    assert.deepEqual(routeOf(nowhere), { name: "gone" });
  }
});

test("every text is used, and every text that is used is there", () => {
  const folder = new URL("../../src/page/assets/", import.meta.url);
  const sources = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".js") && !name.startsWith("texts/"));
  const code = sources.map((name) => readFileSync(new URL(name, folder), "utf8")).join("\n");
  for (const name of Object.keys(LANGUAGES.en)) {
    const family = name.slice(0, name.lastIndexOf(".") + 1);
    assert.ok(code.includes(`"${name}"`) || code.includes(`\`${family}\${`), `nothing says ${name}`);
  }
  for (const [, name] of code.matchAll(/\btext\("([^"]+)"/g)) {
    assert.ok(name in LANGUAGES.en, `there is no ${name}`);
  }
});
