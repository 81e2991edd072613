// Creating a poll, voting in it, and watching others vote.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ORIGIN, castVotes, createPoll, open, prepare, server, until, visitor } from "./support.mjs";

prepare();

const path = (poll, view = "") => `/p/${poll.id}${view}`;
const row = (page, option) => page.locator(".option", { hasText: option });
const share = (page, option) => row(page, option).locator(".numbers strong");
const shows = (locator, text) => until(async () => (await locator.count()) > 0 && (await locator.first().innerText()) === text);
/** What a screen reader is given to say from now on. */
async function listenTo(page) {
  await page.evaluate(() => {
    window.said = [];
    const place = document.getElementById("announcements");
    new MutationObserver(() => window.said.push(place.textContent)).observe(place, { childList: true });
  });
  return { hears: (text) => until(() => page.evaluate((text) => window.said.includes(text), text)) };
}
const isLive = (page) => page.locator('.phase[data-phase="live"]').waitFor();

test("a poll is created, voted in at one window, and moves at another without a reload", async (context) => {
  const author = await open(await visitor(context), "/new");
  await author.getByLabel("Question").fill("Tea or coffee?");
  await author.getByLabel("Option 1", { exact: true }).fill("Tea");
  await author.getByLabel("Option 1", { exact: true }).press("Enter");
  await author.keyboard.type("Coffee");
  await author.getByRole("button", { name: "Add an option" }).click();
  await author.keyboard.type("Water");
  await author.getByRole("button", { name: "Remove option 3" }).click();
  await author.getByRole("button", { name: "Create the poll" }).click();
  await author.getByRole("heading", { name: "Tea or coffee?" }).waitFor();

  const token = await author.getByLabel("Owner token", { exact: true }).inputValue();
  assert.ok(token.length > 20);
  assert.match(author.url(), /\/p\/[0-9a-z]{26}$/);

  const watcher = await open(await visitor(context), new URL(author.url()).pathname);
  await isLive(watcher);
  await watcher.evaluate(() => {
    window.isTheSame = true;
  });

  await row(author, "Coffee").click();
  await author.getByRole("button", { name: "Vote", exact: true }).click();
  await shows(author.locator(".outcome"), "Counted");
  assert.ok((await author.getByLabel("Receipt", { exact: true }).inputValue()).length > 20);
  assert.equal(await row(author, "Coffee").getByText("Your choice").count(), 1);

  await shows(share(watcher, "Coffee"), "100%");
  await until(() => watcher.evaluate(() => document.querySelector(".option.is-first .fill").getBoundingClientRect().width > 100));
  assert.equal(await watcher.evaluate(() => window.isTheSame), true);

  await author.reload();
  await shows(author.locator(".outcome"), "Counted");
  assert.equal((await author.getByText(token).count()) + (await author.locator(".token").count()), 0, "the token is shown once");
});

test("where the browser keeps nothing, the owner sees the token and uses it", async (context) => {
  const page = await visitor(context);
  await page.addInitScript(() => {
    Object.defineProperty(window, "localStorage", {
      get() {
        throw new DOMException("The user keeps nothing", "SecurityError");
      },
    });
  });
  await open(page, "/new");
  await page.getByLabel("Question").fill("Forgetful?");
  await page.getByLabel("Option 1", { exact: true }).fill("Yes");
  await page.getByLabel("Option 2", { exact: true }).fill("No");
  await page.getByRole("button", { name: "Create the poll" }).click();
  const token = await page.getByLabel("Owner token", { exact: true }).inputValue();
  assert.ok(token.length > 20);
  await page.getByText("this browser does not keep it").waitFor();

  await page.reload();
  await page.getByText("Is this your poll?").click();
  await page.getByLabel("Owner token").fill(token);
  await page.getByRole("button", { name: "Use the owner token" }).click();
  await page.getByRole("button", { name: "Close the poll" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Close the poll" }).click();
  await page.getByText("Voting has ended.").waitFor();
});

test("what the server refuses is shown at the fields", async (context) => {
  const page = await open(await visitor(context, { expected: [/\/polls$/] }), "/new");
  await page.getByLabel("Option 1", { exact: true }).fill("same");
  await page.getByLabel("Option 2", { exact: true }).fill("same");
  await page.getByLabel("Closes at").fill("2020-01-01T12:00");
  await page.getByRole("button", { name: "Create the poll" }).click();
  await page.getByText("things need another look").waitFor();
  assert.match(await page.evaluate(() => document.activeElement.innerText), /^3 things/);
  for (const [label, words] of [
    ["Question", "Needs 1 to 500 characters."],
    ["Option 2", "Is the same as another option."],
    ["Closes at", "Has to be in the future."],
  ]) {
    const control = page.getByLabel(label, { exact: true });
    assert.equal(await control.getAttribute("aria-invalid"), "true", label);
    const about = await control.getAttribute("aria-describedby");
    assert.match(await page.locator(`#${about}`).innerText(), new RegExp(words.replaceAll(".", "\\.")), label);
  }
  await page.getByRole("link", { name: /^Question/ }).click();
  assert.equal(await page.evaluate(() => document.activeElement.name), "question");
});

test("a vote is changed and retracted where the poll allows it", async (context) => {
  const poll = await createPoll({ question: "Where to?", options: ["Sea", "Hills"], allow_change: true });
  const page = await open(await visitor(context), path(poll));
  await row(page, "Sea").click();
  await page.getByRole("button", { name: "Vote", exact: true }).click();
  await shows(share(page, "Sea"), "100%");
  await page.getByRole("button", { name: "Change my vote" }).click();
  await row(page, "Hills").click();
  await page.getByRole("button", { name: "Save the change" }).click();
  await shows(share(page, "Hills"), "100%");
  await shows(page.locator(".outcome"), "Counted");
  await page.getByRole("button", { name: "Retract my vote" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Retract my vote" }).click();
  await shows(page.locator(".outcome"), "Retracted. You can vote again.");
  await shows(share(page, "Hills"), "0%");
  await page.getByRole("button", { name: "Vote", exact: true }).waitFor();
});

test("a second tab of the same person knows that they have voted", async (context) => {
  const poll = await createPoll({ question: "Two tabs?", options: ["Yes", "No"] });
  const page = await open(await visitor(context), path(poll));
  const other = await open(await page.context().newPage(), path(poll));
  await row(page, "Yes").click();
  await page.getByRole("button", { name: "Vote", exact: true }).click();
  await shows(page.locator(".outcome"), "Counted");
  await shows(other.locator(".outcome"), "Counted");
  assert.equal(await other.getByText("Your choice").count(), 1);
});

test("of several choices no more are taken than the poll allows", async (context) => {
  const poll = await createPoll({ question: "Which days?", options: ["Mon", "Tue", "Wed"], max_choices: 2 });
  const page = await open(await visitor(context), path(poll));
  await row(page, "Mon").click();
  await row(page, "Wed").click();
  assert.equal(await page.getByRole("checkbox", { name: "Tue" }).isDisabled(), true);
  await page.getByText("2 of 2 chosen").waitFor();
  await page.getByRole("button", { name: "Vote", exact: true }).click();
  await shows(page.locator(".outcome"), "Counted");
  assert.equal(await page.getByText("Your choice").count(), 2);
});

test("hidden results appear once one has voted, and go on moving", async (context) => {
  const poll = await createPoll({ question: "A secret?", options: ["Yes", "No"], results: "after_vote" });
  await castVotes(poll, [3, 0]);
  const page = await open(await visitor(context), path(poll));
  await page.getByText("The results show once you have voted.").waitFor();
  await row(page, "No").click();
  await page.getByRole("button", { name: "Vote", exact: true }).click();
  await shows(share(page, "Yes"), "75%");
  await castVotes(poll, [4, 0]);
  await shows(share(page, "Yes"), "88%");
});

test("a second vote of the same person is refused in words", async (context) => {
  const poll = await createPoll({ question: "Only once?", options: ["Yes", "No"] });
  const page = await open(await visitor(context, { expected: [/\/vote$/] }), path(poll));
  await row(page, "Yes").click();
  await page.getByRole("button", { name: "Vote", exact: true }).click();
  await shows(page.locator(".outcome"), "Counted");
  // A browser that has lost its memory, and not its cookie.
  await page.evaluate(() => localStorage.clear());
  await page.reload();
  await row(page, "No").click();
  await page.getByRole("button", { name: "Vote", exact: true }).click();
  await page.getByRole("alert").getByText("You have voted here already.").waitFor();
  await shows(share(page, "Yes"), "100%");
});

test("the owner exports, closes and archives, and whoever watches sees it", async (context) => {
  const poll = await createPoll({ question: "Mine?", options: ["Yes", "No"] });
  await castVotes(poll, [2, 1]);
  const owner = await open(await visitor(context), path(poll));
  const watcher = await open(await visitor(context), path(poll));
  await isLive(watcher);
  await owner.getByText("Is this your poll?").click();
  await owner.getByLabel("Owner token").fill(poll.owner_token);
  await owner.getByRole("button", { name: "Use the owner token" }).click();

  const downloading = owner.waitForEvent("download");
  await owner.getByRole("button", { name: "Export CSV" }).click();
  assert.equal((await downloading).suggestedFilename(), `poll-${poll.id}.csv`);

  await owner.getByRole("button", { name: "Close the poll" }).click();
  await owner.getByRole("dialog").getByRole("button", { name: "Close the poll" }).click();
  await watcher.getByText("Voting has ended.").waitFor();

  await owner.getByRole("button", { name: "Archive" }).click();
  await owner.getByRole("dialog").getByRole("button", { name: "Archive" }).click();
  await owner.getByRole("heading", { name: "All polls" }).waitFor();
  await watcher.getByText("There is no such poll, or it was archived.").waitFor();
});

test("somebody votes with nothing but the keyboard", async (context) => {
  const poll = await createPoll({ question: "Keys?", options: ["Up", "Down"] });
  const page = await open(await visitor(context), path(poll));
  const isOn = (selector) => page.evaluate((selector) => document.activeElement.matches(selector), selector);
  for (let steps = 0; !(await isOn("input[name=choice]")); steps += 1) {
    assert.ok(steps < 20, "the ballot is reached");
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("Space");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Tab");
  assert.ok(await isOn("button.primary"));
  await page.keyboard.press("Enter");
  await shows(page.locator(".outcome"), "Counted");
  await shows(share(page, "Down"), "100%");
  await until(() => isOn(".receipt"));
});

test("whoever hears the page is told what became of the vote, and then how things stand", async (context) => {
  const poll = await createPoll({ question: "Out loud?", options: ["Yes", "No"] });
  const page = await open(await visitor(context), path(poll));
  await isLive(page);
  const ear = await listenTo(page);
  await castVotes(poll, [1, 0]);
  await ear.hears("1 voter. Yes leads with 100%.");
  await row(page, "Yes").click();
  await page.getByRole("button", { name: "Vote", exact: true }).click();
  await ear.hears("Counted");
  await ear.hears("2 voters. Yes leads with 100%.");
  assert.equal((await page.evaluate(() => window.said)).at(-1), "2 voters. Yes leads with 100%.");
});

test("the page comes back by itself after the server was killed", async (context) => {
  const poll = await createPoll({ question: "Still there?", options: ["Yes", "No"] });
  // While nobody answers, a browser says so in its console.
  const gone = { expected: [/ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|WebSocket/] };
  const page = await open(await visitor(context, gone), path(poll));
  const board = await open(await visitor(context, gone), "/top");
  const list = await open(await visitor(context, gone), "/");
  await isLive(page);
  const ear = await listenTo(page);
  await server.kill();
  await page.locator(".phase", { hasText: "Connection lost" }).waitFor();
  await page.locator(".phase", { hasText: "No live connection" }).waitFor();
  await server.start();
  await castVotes(poll, [20, 5]);
  await shows(share(page, "Yes"), "80%");
  for (const window of [page, board, list]) {
    await isLive(window);
  }
  await ear.hears("Connection lost, trying again…");
  await ear.hears("Connected again");
  await castVotes(poll, [0, 15]);
  await shows(share(page, "Yes"), "50%");
  await shows(board.locator(".board-option").first(), "Yes");
  await board.locator(".board-row", { hasText: "20 votes" }).first().waitFor();
  await list.locator(".poll-row", { hasText: "Still there?" }).getByText("40 voters").waitFor();
});

test("a vote that gets no answer is sent again under the same name, and counts once", async (context) => {
  const poll = await createPoll({ question: "Lost?", options: ["Yes", "No"] });
  const page = await open(await visitor(context, { expected: [/\/vote$/] }), path(poll));
  const names = [];
  await page.route("**/vote", async (route) => {
    names.push(route.request().postDataJSON().vote_id);
    // The vote arrives, and its answer does not.
    if (names.length === 1) {
      await route.fetch();
      await route.abort();
    } else {
      await route.continue();
    }
  });
  await row(page, "Yes").click();
  await page.getByRole("button", { name: "Vote", exact: true }).click();
  await shows(page.locator(".outcome"), "Counted");
  assert.equal(new Set(names).size, 1);
  assert.equal(names.length, 2);
  assert.equal((await (await fetch(`${ORIGIN}/polls/${poll.id}`)).json()).results.voters, 1);
});

test("a retraction that gets no answer is asked for again under the same name, also after a reload", async (context) => {
  const poll = await createPoll({ question: "Taken back?", options: ["Yes", "No"], allow_change: true });
  const page = await open(await visitor(context, { expected: [/\/vote\?/] }), path(poll));
  const ear = await listenTo(page);
  const retract = async () => {
    await page.getByRole("button", { name: "Retract my vote" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Retract my vote" }).click();
  };
  await row(page, "Yes").click();
  await page.getByRole("button", { name: "Vote", exact: true }).click();
  await shows(page.locator(".outcome"), "Counted");

  const names = [];
  await page.route("**/vote?*", async (route) => {
    names.push(new URL(route.request().url()).searchParams.get("vote_id"));
    // The retraction arrives, and its answer does not.
    if (names.length === 1) {
      await route.fetch();
    }
    await route.abort();
  });
  await retract();
  await ear.hears("No answer yet. Retracting your vote again…");
  await page.getByRole("alert").getByText("Retracting your vote got no answer.").waitFor({ timeout: 40_000 });
  assert.equal(await page.locator(".outcome").isVisible(), false, "it is not known whether the vote is counted");
  await page.reload();
  await page.getByText("Retracting your vote got no answer.").waitFor();

  await page.unroute("**/vote?*");
  page.on(
    "request",
    (request) => request.method() === "DELETE" && names.push(new URL(request.url()).searchParams.get("vote_id")),
  );
  await retract();
  await shows(page.locator(".outcome"), "Retracted. You can vote again.");
  await shows(share(page, "Yes"), "0%");
  assert.ok(names.length > 2);
  assert.equal(new Set(names).size, 1);
});

test("where there is no vote to retract, it is retracted", async (context) => {
  const poll = await createPoll({ question: "Gone already?", options: ["Yes", "No"], allow_change: true });
  const page = await open(await visitor(context, { expected: [/\/vote\?/] }), path(poll));
  await row(page, "Yes").click();
  await page.getByRole("button", { name: "Vote", exact: true }).click();
  await shows(page.locator(".outcome"), "Counted");
  // As another browser of the same person would.
  assert.equal(await page.evaluate(async (id) => (await fetch(`/polls/${id}/vote`, { method: "DELETE" })).status, poll.id), 202);
  await shows(share(page, "Yes"), "0%");
  await page.getByRole("button", { name: "Retract my vote" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Retract my vote" }).click();
  await shows(page.locator(".outcome"), "Retracted. You can vote again.");
  await page.getByRole("button", { name: "Vote", exact: true }).waitFor();
});

test("what the server could not show at first is asked for again", async (context) => {
  const poll = await createPoll({ question: "Not yet?", options: ["Yes", "No"] });
  const page = await visitor(context);
  const wishes = [];
  await page.routeWebSocket(/\/live$/, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((message) => {
      wishes.push(message);
      // As from a server whose store does not answer, which forgets the wish.
      if (wishes.length <= 2) {
        const { subscribe } = JSON.parse(message);
        const problem = { type: "error", problem: "/problems/unavailable", title: "Not now", status: 503 };
        subscribe.forEach((poll_id) => socket.send(JSON.stringify({ ...problem, poll_id })));
      } else {
        server.send(message);
      }
    });
  });
  await open(page, "/");
  await until(() => wishes.length === 3);
  await castVotes(poll, [3, 0]);
  await page.locator(".poll-row", { hasText: "Not yet?" }).getByText("3 voters").waitFor();
  assert.equal(new Set(wishes).size, 1);
});

test("where no socket can be had, results come by asking", async (context) => {
  const poll = await createPoll({ question: "No sockets?", options: ["Yes", "No"] });
  const page = await visitor(context);
  await page.routeWebSocket(/\/live/, (socket) => socket.close());
  await open(page, path(poll));
  await page.locator('.phase[data-phase="polling"]').waitFor();
  await castVotes(poll, [1, 3]);
  await shows(share(page, "No"), "75%");
});

test("where each socket is cut after its first frame, they come ever more seldom, and results by asking between them", async (context) => {
  const poll = await createPoll({ question: "Cut off?", options: ["Yes", "No"] });
  const page = await visitor(context);
  const attempts = [];
  await page.routeWebSocket(/\/live/, (socket) => {
    attempts.push(Date.now());
    socket.connectToServer().onMessage((message) => {
      socket.send(message);
      socket.close();
    });
  });
  await open(page, path(poll));
  // The fourth pause is at least two seconds, and the first at most half a second.
  await until(() => attempts.length === 5);
  const pauses = attempts.slice(1).map((at, index) => at - attempts[index]);
  assert.ok(pauses[3] >= 2000 && pauses[0] < pauses[3], `${pauses}`);
  await page.locator('.phase[data-phase="polling"]').waitFor();
  await castVotes(poll, [1, 3]);
  await shows(share(page, "No"), "75%");
});

test("a browser without a network keeps a socket that works, and comes back to a server that it can reach", async (context) => {
  const poll = await createPoll({ question: "No network?", options: ["Yes", "No"] });
  const page = await visitor(context);
  const sockets = [];
  await page.routeWebSocket(/\/live/, (socket) => {
    sockets.push(socket);
    socket.connectToServer();
  });
  await open(page, path(poll));
  await isLive(page);
  const hasNetwork = (isOnline) =>
    page.evaluate((isOnline) => {
      Object.defineProperty(navigator, "onLine", { value: isOnline, configurable: true });
      dispatchEvent(new Event(isOnline ? "online" : "offline"));
    }, isOnline);

  await hasNetwork(false);
  await castVotes(poll, [3, 1]);
  await shows(share(page, "Yes"), "75%");
  await isLive(page);
  assert.equal(sockets.length, 1);

  await sockets[0].close();
  await page.getByText("You are offline").waitFor();
  await isLive(page);
  await castVotes(poll, [0, 2]);
  await shows(share(page, "Yes"), "50%");
  assert.equal(sockets.length, 2);

  await hasNetwork(true);
  await until(() => sockets.length === 3);
  await isLive(page);
});
