// What must not be lost: what was chosen and typed, and the place of whoever uses the keyboard.

import assert from "node:assert/strict";
import { test } from "node:test";

import { castVotes, createPoll, deletePoll, open, prepare, until, visitor } from "./support.mjs";

prepare();

const path = (poll) => `/p/${poll.id}`;
const isSpoken = (page, tag) => page.locator(`html[lang=${tag}] main:not([aria-busy])`).waitFor();

/** Chooses a language as one does it with the keyboard, and waits until the page speaks it. */
async function speak(page, tag, name) {
  const language = page.getByLabel(name);
  await language.focus();
  await language.selectOption(tag);
  await isSpoken(page, tag);
  assert.ok(
    await page.evaluate(() => document.activeElement === document.querySelector(".setting select")),
    "the focus is where it was",
  );
}

test("a choice that was made and not sent stays in another language, and is sent", async (context) => {
  const poll = await createPoll({ question: "Which ones?", options: ["Ann", "Ben", "Cem"], max_choices: 2, allow_change: true });
  const page = await open(await visitor(context), path(poll));
  const box = (name) => page.getByRole("checkbox", { name });
  await box("Ann").check();
  await box("Cem").check();
  await speak(page, "de", "Language");
  await page.getByText("2 von 2 gewählt").waitFor();
  assert.deepEqual(
    [await box("Ann").isChecked(), await box("Ben").isChecked(), await box("Cem").isChecked()],
    [true, false, true],
  );
  assert.ok(await box("Ben").isDisabled());

  await page.getByRole("button", { name: "Abstimmen", exact: true }).click();
  await page.locator('.outcome[data-outcome="counted"]').waitFor();
  await page.getByRole("button", { name: "Stimme ändern" }).click();
  await box("Cem").uncheck();
  await box("Ben").check();
  await speak(page, "en", "Sprache");
  assert.deepEqual(
    [await box("Ann").isChecked(), await box("Ben").isChecked(), await box("Cem").isChecked()],
    [true, true, false],
  );
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("button", { name: "Change my vote" }).click();
  assert.deepEqual(
    [await box("Ann").isChecked(), await box("Ben").isChecked(), await box("Cem").isChecked()],
    [true, false, true],
  );
  await deletePoll(poll);
});

test("a search stays in another language, with what was found", async (context) => {
  const needle = await createPoll({ question: "A pin in the hay?", options: ["Yes", "No"] });
  await createPoll({ question: "Only hay?", options: ["Yes", "No"] });
  const page = await open(await visitor(context), "/");
  const found = () => page.locator(".poll-row h3").allInnerTexts();
  await page.getByLabel("State").selectOption("open");
  await page.getByLabel("Order").selectOption("oldest");
  await page.getByLabel("Search questions").fill("a PIN ");
  await until(async () => String(await found()) === needle.question);
  await speak(page, "de", "Language");
  assert.equal(await page.getByLabel("Fragen durchsuchen").inputValue(), "a PIN ");
  assert.equal(await page.getByLabel("Zustand").inputValue(), "open");
  assert.equal(await page.getByLabel("Reihenfolge").inputValue(), "oldest");
  assert.deepEqual(await found(), [needle.question]);
});

test("what is typed while another language is on its way stays, and so does the focus", async (context) => {
  const needle = await createPoll({ question: "A thorn in the hay?", options: ["Yes", "No"] });
  await createPoll({ question: "Hay and no more?", options: ["Yes", "No"] });
  const page = await open(await visitor(context), "/");
  let go;
  const held = new Promise((resolve) => (go = resolve));
  await page.route(/\/polls\?/, async (route) => {
    await held;
    await route.continue();
  });
  await page.getByLabel("Language").selectOption("de");
  await page.getByLabel("Search questions").fill("thorn");
  go();
  await isSpoken(page, "de");
  await until(async () => String(await page.locator(".poll-row h3").allInnerTexts()) === needle.question);
  const search = page.getByLabel("Fragen durchsuchen");
  assert.equal(await search.inputValue(), "thorn");
  assert.ok(await search.evaluate((field) => field === document.activeElement));
  await page.keyboard.type("s");
  assert.equal(await search.inputValue(), "thorns");
});
