// The leaderboard, the presentation and the frame; languages, themes and barriers.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import {
  ORIGIN,
  barriers,
  castVotes,
  closePoll,
  createPoll,
  deletePoll,
  open,
  picture,
  prepare,
  until,
  visitor,
} from "./support.mjs";

prepare();

const path = (poll, view = "") => `/p/${poll.id}${view}`;

async function boardOf(context, options) {
  const page = await visitor(context, options);
  await page.addInitScript(() => {
    window.glides = 0;
    const animate = Element.prototype.animate;
    Element.prototype.animate = function count(...effect) {
      window.glides += 1;
      return animate.apply(this, effect);
    };
  });
  await open(page, "/top");
  await page.locator('.phase[data-phase="live"]').waitFor();
  return page;
}

test("places on the leaderboard change before one's eyes, and without motion for whoever wants less", async (context) => {
  const poll = await createPoll({ question: "Who leads?", options: ["Ann", "Ben"] });
  await castVotes(poll, [50, 40]);
  const moving = await boardOf(context);
  const still = await boardOf(context, { reducedMotion: "reduce" });
  const first = (page) => page.locator(".board-option").first();
  assert.match(await first(moving).innerText(), /^Ann/);
  await castVotes(poll, [0, 20]);
  for (const page of [moving, still]) {
    await until(async () => (await first(page).innerText()).startsWith("Ben"));
    await page.locator(".board-row", { hasText: "Ben" }).getByText("▲ 1").waitFor();
    await page.getByText("up 1 place").waitFor();
  }
  assert.ok((await moving.evaluate(() => window.glides)) > 0);
  assert.equal(await still.evaluate(() => window.glides), 0);
});

test("votes leave the focus and marked text in the leaderboard alone, also where places change", async (context) => {
  const poll = await createPoll({ question: "Who holds still?", options: ["Cat", "Dog", "Owl"] });
  await castVotes(poll, [320, 310, 300]);
  const page = await boardOf(context);
  const order = async () => (await page.locator(".board-option").allInnerTexts()).slice(0, 3).map((words) => words.slice(0, 3));
  const counts = (votes) => page.locator(".board-votes", { hasText: votes }).waitFor();
  const inFocus = () =>
    page.evaluate(() => document.activeElement.closest(".board-row")?.querySelector(".board-option").innerText);
  const marked = () => page.evaluate(() => String(getSelection()));
  await page.evaluate(() => {
    window.lost = 0;
    document.addEventListener("focusout", () => (window.lost += 1));
  });

  await page.locator(".board-row", { hasText: "Cat" }).getByRole("link").focus();
  await castVotes(poll, [1, 0, 0]);
  await counts("321 votes");
  assert.match(await inFocus(), /^Cat/);
  await castVotes(poll, [0, 0, 50]);
  await until(async () => String(await order()) === "Owl,Cat,Dog");
  await castVotes(poll, [0, 100, 0]);
  await until(async () => String(await order()) === "Dog,Owl,Cat");
  assert.match(await inFocus(), /^Cat/);
  assert.equal(await page.evaluate(() => window.lost), 0);

  await page.evaluate(() => document.activeElement.blur());
  await page.locator(".board-row", { hasText: "Cat" }).locator(".board-votes").selectText();
  assert.equal(await marked(), "321 votes");
  await castVotes(poll, [0, 1, 0]);
  await counts("411 votes");
  assert.equal(await marked(), "321 votes");
  await castVotes(poll, [0, 0, 90]);
  await until(async () => String(await order()) === "Owl,Dog,Cat");
  assert.equal(await marked(), "321 votes");
  await deletePoll(poll);
});

/** A poll whose history is a line, which needs two points in time. */
async function pollWithHistory(question) {
  const poll = await createPoll({ question, options: ["Yes", "No"] });
  await until(async () => {
    await castVotes(poll, [1, 0]);
    const history = await fetch(`${ORIGIN}/polls/${poll.id}/history`);
    assert.equal(history.status, 200);
    return (await history.json()).points.length > 1;
  });
  return poll;
}

test("votes over time are drawn", async (context) => {
  const poll = await pollWithHistory("Over time?");
  const page = await open(await visitor(context), path(poll));
  await page.getByRole("img", { name: /to \d+ voters? on/ }).waitFor();
  await page.locator(".history canvas").waitFor();
  assert.deepEqual(await barriers(page), []);
});

test("no line is drawn where nobody has voted", async (context) => {
  const poll = await createPoll({ question: "Nobody?", options: ["Yes", "No"] });
  const points = async () => (await (await fetch(`${ORIGIN}/polls/${poll.id}/history`)).json()).points;
  await until(async () => (await points()).length > 1);
  const page = await visitor(context);
  await page.addInitScript(() => {
    window.drawn = [];
    const note = (changes) => window.drawn.push(...changes.map(({ target }) => target.ariaLabel));
    new MutationObserver(note).observe(document, { subtree: true, attributeFilter: ["aria-label"] });
  });
  const answered = page.waitForResponse(/history$/);
  await open(page, path(poll));
  await answered;
  await castVotes(poll, [1, 0]);
  await page.getByRole("img", { name: /^From 0 voters .* to 1 voter on/ }).waitFor();
  const drawn = await page.evaluate(() => window.drawn);
  assert.ok(
    drawn.every((words) => /to 1 voter on/.test(words)),
    `${drawn}`,
  );
});

test("votes over time end now, also where a step ends later", async (context) => {
  const poll = await pollWithHistory("How far?");
  const page = await visitor(context);
  const later = new Date(Date.now() + 2 * 86_400_000);
  await page.route("**/history", async (route) => {
    const response = await route.fetch();
    const history = await response.json();
    history.points.at(-1).at = later.toISOString();
    await route.fulfill({ response, json: history });
  });
  await open(page, path(poll));
  const words = await page.getByRole("img", { name: /to \d+ voters? on/ }).getAttribute("aria-label");
  const day = (time) => new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" }).format(time);
  assert.ok(!words.includes(day(later)), words);
});

test("votes over time are asked for again when the server could not tell them, as late as it wants", async (context) => {
  const poll = await pollWithHistory("Later?");
  const page = await visitor(context, { expected: [/history$/, /uPlot/] });
  const asked = [];
  await page.route("**/history", (route) => {
    asked.push(Date.now());
    return asked.length > 1 ? route.continue() : route.fulfill({ status: 503, headers: { "Retry-After": "6" } });
  });
  await page.route("**/uPlot.iife.min.js", (route) => route.abort(), { times: 1 });
  await open(page, path(poll));
  await until(() => asked.length === 1);
  // No sooner because of a vote.
  await castVotes(poll, [0, 1]);
  await page.locator(".history canvas").waitFor();
  assert.ok(asked[1] - asked[0] >= 6000, `${asked}`);
  assert.ok(asked.length >= 3, "what draws them is asked for again, too");
});

test("the presentation shows the code of the voting link and moves", async (context) => {
  const poll = await createPoll({ question: "From the back of the room?", options: ["Yes", "No"] });
  const page = await visitor(context, { viewport: { width: 1600, height: 900 } });
  await open(page, path(poll, "/present"));
  await page.getByRole("img", { name: "QR code of the voting link" }).waitFor();
  await page.locator('.phase[data-phase="live"]').waitFor();
  await castVotes(poll, [3, 1]);
  await until(async () => (await page.locator(".numbers strong").first().innerText()) === "75%");
  assert.equal(await page.locator(".counter-large strong").first().innerText(), "4");
  const address = (await page.locator(".address").innerText()).replaceAll(/\s/g, "");
  await page.goto(`http://${address.toUpperCase().replace("/P/", "/p/")}`);
  await page.getByRole("button", { name: "Vote", exact: true }).waitFor();
});

test("another site may frame the results, and nothing else", async (context) => {
  const poll = await createPoll({ question: "In a frame?", options: ["Yes", "No"] });
  const host = createServer((request, response) => {
    response.setHeader("Content-Type", "text/html");
    response.end(
      `<title>Host</title>${[path(poll, "/embed"), path(poll), "/p/nowhere/embed"]
        .map((framed) => `<iframe src="${ORIGIN}${framed}"></iframe>`)
        .join("")}`,
    );
  });
  await new Promise((resolve) => host.listen(0, "127.0.0.1", resolve));
  context.after(() => host.close());
  const there = `http://127.0.0.1:${host.address().port}`;
  const page = await visitor(context, { origins: [ORIGIN, there], expected: [/frame-ancestors/, /favicon/] });
  await page.goto(there);
  const [framed, refused] = [page.frameLocator("iframe >> nth=0"), page.frameLocator("iframe >> nth=1")];
  await framed.getByRole("heading", { name: "In a frame?" }).waitFor();
  await framed.locator('.phase[data-phase="live"]').waitFor();
  await castVotes(poll, [1, 0]);
  await framed.getByText("100%", { exact: true }).waitFor();
  assert.equal(await framed.getByRole("link", { name: "Vote" }).getAttribute("target"), "_blank");
  assert.equal(await framed.getByRole("button").count(), 0);
  assert.equal(await refused.getByRole("heading", { name: "In a frame?" }).count(), 0);
  const lost = page.frameLocator("iframe >> nth=2");
  await lost.getByText("This address leads nowhere.").waitFor();
  await lost.getByRole("link", { name: "New poll" }).click();
  await lost.getByText("This address leads nowhere.").waitFor({ state: "detached" });
  assert.equal(await lost.getByRole("textbox").count(), 0);
});

test("the page speaks German to those who do, and remembers another choice", async (context) => {
  const poll = await createPoll({ question: "Tee?", options: ["Ja", "Nein"] });
  await castVotes(poll, [1200 / 2, 400]);
  const page = await visitor(context, { locale: "de-DE" });
  await open(page, path(poll));
  assert.equal(await page.evaluate(() => document.documentElement.lang), "de");
  await page.getByText("Wählen Sie eine Antwort").waitFor();
  await page.getByText("1.000 Personen", { exact: true }).waitFor();
  await page.getByText("60\u00a0%", { exact: true }).waitFor();
  await picture(page, "poll-german");
  await page.getByLabel("Sprache").selectOption("en");
  await page.getByText("Choose one").waitFor();
  await page.reload();
  await page.getByText("Choose one").waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), "en");
});

test("another language takes nothing away: not what was typed, and not the token that is shown once", async (context) => {
  const page = await open(await visitor(context), "/new");
  const speaks = async (tag, language) => {
    await page.getByLabel(language).selectOption(tag);
    await until(() => page.evaluate((tag) => document.documentElement.lang === tag, tag));
  };
  await page.getByLabel("Question").fill("Tea?");
  await page.getByLabel("Option 1", { exact: true }).fill("Yes");
  await page.getByLabel("Option 2", { exact: true }).fill("No");
  await page.getByRole("button", { name: "Add an option" }).click();
  await page.keyboard.type("Perhaps");
  await page.getByLabel("Voters may change their vote").check();
  await page.getByLabel("Whoever has voted").check();
  await page.getByLabel("Closes at").fill("2099-01-01T12:00");

  await speaks("de", "Language");
  assert.equal(await page.getByLabel("Frage", { exact: true }).inputValue(), "Tea?");
  for (const [place, option] of ["Yes", "No", "Perhaps"].entries()) {
    assert.equal(await page.getByLabel(`Antwort ${place + 1}`, { exact: true }).inputValue(), option);
  }
  assert.ok(await page.getByLabel("Stimmen dürfen geändert werden").isChecked());
  assert.ok(await page.getByLabel("Wer abgestimmt hat").isChecked());
  assert.equal(await page.getByLabel("Ende", { exact: true }).inputValue(), "2099-01-01T12:00");

  await page.getByRole("button", { name: "Umfrage erstellen" }).click();
  const token = await page.getByLabel("Eigentümer-Token", { exact: true }).inputValue();
  await speaks("en", "Sprache");
  assert.equal(await page.getByLabel("Owner token", { exact: true }).inputValue(), token);
  await page.getByRole("link", { name: "New poll" }).click();
  assert.equal(await page.getByLabel("Question").inputValue(), "");
  await page.goBack();
  await page.getByRole("heading", { name: "Tea?" }).waitFor();
  assert.equal(await page.getByText("Your poll is ready").count(), 0);
});

test("a theme that was chosen stays", async (context) => {
  const page = await open(await visitor(context, { colorScheme: "light" }), "/");
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await paper();
  await page.getByLabel("Theme").selectOption("dark");
  const dark = await paper();
  assert.notEqual(dark, light);
  await page.reload();
  assert.equal(await paper(), dark);
});

test("between views the focus goes along, and back goes back", async (context) => {
  const page = await open(await visitor(context), "/");
  await page.evaluate(() => {
    window.isTheSame = true;
  });
  await page.getByRole("link", { name: "Leaderboard" }).click();
  await page.getByRole("heading", { level: 1, name: "Leaderboard" }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.tagName), "H1");
  assert.match(await page.title(), /^Leaderboard/);
  await page.goBack();
  await page.getByRole("heading", { name: "All polls" }).waitFor();
  assert.equal(await page.evaluate(() => window.isTheSame), true, "nothing was loaded anew");
  await page.goto(`${ORIGIN}/p/nowhere`);
  await page.getByRole("heading", { name: "Nothing here" }).waitFor();
});

test("polls are found by words, state and order", async (context) => {
  const closed = await createPoll({ question: "A needle in the hay?", options: ["Yes", "No"] });
  await closePoll(closed);
  const page = await open(await visitor(context), "/");
  await page.getByLabel("Search questions").fill("NEEDLE");
  await until(async () => (await page.locator(".poll-row").count()) === 1);
  await page.getByLabel("State").selectOption("open");
  await page.getByText("No poll fits.").waitFor();
});

/** Every view, as it looks when there is something in it. */
async function views() {
  const language = await createPoll({
    question: "Which language should the workshop be in?",
    options: ["Rust", "Go", "TypeScript", "Zig"],
    allow_change: true,
  });
  await castVotes(language, [130, 58, 71, 17]);
  const food = await createPoll({
    question: "What shall we eat at the summer party?",
    options: ["Barbecue", "Vegan curry", "Pizza from the wood oven", "Everybody brings something"],
    max_choices: 2,
  });
  await castVotes(food, [61, 88, 94, 20]);
  const hidden = await createPoll({
    question: "Where does the next retreat go?",
    options: ["Lisbon", "Tallinn", "The Black Forest"],
    results: "after_vote",
  });
  await castVotes(hidden, [12, 9, 14]);
  const later = await createPoll({
    question: "Name of the new meeting room",
    options: ["Ada", "Grace"],
    opens_at: new Date(Date.now() + 2 * 86_400_000).toISOString(),
  });
  const over = await createPoll({
    question: "Which of the drafts speaks to you most?",
    options: ["The three bars", "The wave", "The ballot box"],
  });
  await castVotes(over, [15, 8, 3]);
  await closePoll(over);
  const long = await createPoll({
    question: `Which of these should the association spend ${"its whole ".repeat(20)}budget on?`,
    options: ["Donaudampfschifffahrtsgesellschaft".repeat(5), `https://example.org/${"a-long-way/".repeat(12)}`],
    allow_change: true,
  });
  await castVotes(long, [3, 4]);
  return {
    home: "/",
    create: "/new",
    leaderboard: "/top",
    poll: path(language),
    several: path(food),
    hidden: path(hidden),
    scheduled: path(later),
    closed: path(over),
    long: path(long),
    present: path(language, "/present"),
    "present-long": path(long, "/present"),
    embed: path(language, "/embed"),
    gone: "/p/nowhere",
  };
}

const LOOKS = {
  light: { colorScheme: "light", viewport: { width: 1280, height: 900 } },
  dark: { colorScheme: "dark", viewport: { width: 1280, height: 900 } },
  german: { locale: "de-DE", viewport: { width: 360, height: 780 }, isMobile: true, hasTouch: true },
  phone: { colorScheme: "light", viewport: { width: 360, height: 780 }, isMobile: true, hasTouch: true },
};

test("no view keeps anybody out, in light and dark and on a phone", async (context) => {
  const shown = await views();
  for (const [look, options] of Object.entries(LOOKS)) {
    const page = await visitor(context, { ...options, reducedMotion: "reduce" });
    for (const [name, address] of Object.entries(shown)) {
      await open(page, address);
      if (name !== "create" && name !== "gone") {
        await page.locator('.phase[data-phase="live"]').waitFor();
      }
      assert.deepEqual(await barriers(page), [], `${name}, ${look}`);
      if (name === "long") {
        await page.locator(".legend li").first().waitFor();
      }
      // A phone zooms out of what is too wide, so its own width says nothing.
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= options.viewport.width, `${name}, ${look}: ${width} pixels wide`);
      await picture(page, `${name}-${look}`, { fullPage: !name.startsWith("present") });
    }
    if (look === "german") {
      continue;
    }
    await open(page, shown.poll);
    await page.locator(".option").first().click();
    await page.getByRole("button", { name: "Vote", exact: true }).click();
    await page.locator('.outcome[data-outcome="counted"]').waitFor();
    assert.deepEqual(await barriers(page), [], `voted, ${look}`);
    await picture(page, `voted-${look}`, { fullPage: true });
    await open(page, "/new");
    await page.getByLabel("Question").fill("Shall we?");
    await page.getByLabel("Option 1", { exact: true }).fill("Yes");
    await page.getByLabel("Option 2", { exact: true }).fill("No");
    await page.getByRole("button", { name: "Create the poll" }).click();
    await page.getByText("Your poll is ready").waitFor();
    assert.deepEqual(await barriers(page), [], `created, ${look}`);
    await picture(page, `created-${look}`, { fullPage: true });
    await page.getByRole("button", { name: "Archive" }).click();
    assert.deepEqual(await barriers(page), [], `asked, ${look}`);
    await picture(page, `asked-${look}`);
  }
});
