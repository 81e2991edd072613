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

/** Notes from now on what gets the focus, and what a screen reader is given to say. */
async function follow(page) {
  await page.evaluate(() => {
    window.focused = [];
    window.said = [];
    document.addEventListener("focusin", ({ target }) => window.focused.push(target.textContent));
    const place = document.getElementById("announcements");
    new MutationObserver(() => window.said.push(place.textContent)).observe(place, { childList: true });
  });
}
const focused = (page) => page.evaluate(() => document.activeElement.textContent);

test("whoever is on a row that leaves the leaderboard is on the next one, and hears it once", async (context) => {
  const polls = [];
  for (let place = 1; place <= 10; place += 1) {
    const poll = await createPoll({ question: `Question ${place}?`, options: [`Option ${place}`, "Other"] });
    await castVotes(poll, [200 - 10 * place, 0]);
    polls.push(poll);
  }
  const newcomer = await createPoll({ question: "Newcomer?", options: ["New", "Other"] });
  const page = await open(await visitor(context), "/top");
  await page.locator('.phase[data-phase="live"]').waitFor();
  const row = (name) => page.locator(".board-row", { hasText: name });
  await until(async () => (await page.locator(".board-row").count()) === 10);

  await row("Question 10?").getByRole("link").focus();
  await follow(page);
  await castVotes(newcomer, [155, 0]);
  await row("Newcomer?").waitFor();
  await row("Question 10?").waitFor({ state: "detached" });
  assert.equal(await focused(page), "Question 9?", "nothing follows it, so the one before");

  await row("Question 4?").getByRole("link").focus();
  await deletePoll(polls[3]);
  await row("Question 4?").waitFor({ state: "detached" });
  assert.equal(await focused(page), "Newcomer?", "the one that follows");

  assert.deepEqual(await page.evaluate(() => window.focused), ["Question 9?", "Question 4?", "Newcomer?"]);
  const said = await page.evaluate(() => window.said);
  assert.equal(new Set(said).size, said.length, `${said}`);

  for (const poll of [...polls.filter((poll) => poll !== polls[3]), newcomer]) {
    await deletePoll(poll);
  }
  await page.getByText("No votes yet. The first one leads.").waitFor();
  assert.equal(await focused(page), "Leaderboard", "nothing is left but the heading");
});

test("whoever is on a poll of the list that is archived is on the next one", async (context) => {
  const [last, middle, first] = [
    await createPoll({ question: "Third?", options: ["Yes", "No"] }),
    await createPoll({ question: "Second?", options: ["Yes", "No"] }),
    await createPoll({ question: "First?", options: ["Yes", "No"] }),
  ];
  const page = await open(await visitor(context), "/");
  await page.locator('.phase[data-phase="live"]').waitFor();
  await page.getByRole("link", { name: middle.question }).focus();
  await deletePoll(middle);
  await page.getByRole("link", { name: middle.question }).waitFor({ state: "detached" });
  assert.equal(await focused(page), last.question);
  await deletePoll(first);
  await page.getByRole("link", { name: first.question }).waitFor({ state: "detached" });
  assert.equal(await focused(page), last.question);
});
