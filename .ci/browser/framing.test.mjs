// The results in a frame of another site: the HTML that is offered for it has to be high enough, however narrow the frame is.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import { ORIGIN, castVotes, closePoll, createPoll, open, picture, prepare, visitor } from "./support.mjs";

prepare();

/** Pixels of the narrowest phone. */
const NARROWEST = 320;
const TONGUES = { "en-GB": ["Embed in a page", "HTML of the frame"], "de-DE": ["In eine Seite einbetten", "HTML des Rahmens"] };
const LONGEST = "Donaudampfschifffahrtsgesellschaftskapitän";
const SOON = () => new Date(Date.now() + 300 * 86_400_000).toISOString();

const POLLS = {
  typical: {
    question: "Welche Weiterbildung soll die Verwaltung im nächsten Frühjahr anbieten?",
    options: ["Datenschutzgrundverordnung", "Barrierefreiheit im Netz", "Projektmanagement", "Krisenkommunikation", "Keine"],
    closes_at: SOON(),
  },
  many: { question: "Which day?", options: Array.from({ length: 31 }, (_, day) => `The ${day + 1}. of the month`) },
  long: {
    question: `Welche ${"überaus ".repeat(20)}lange Frage?`,
    options: [LONGEST.repeat(3), `${LONGEST} und noch viele Wörter, die dahinter stehen und auch Platz brauchen`],
    closes_at: SOON(),
  },
  hidden: { question: "Ein Geheimnis?", options: ["Ja", "Nein"], results: "after_close", closes_at: SOON() },
};

/** A site of somebody else that shows `html`, by path. */
async function hostOf(context, html) {
  const host = createServer((request, response) => {
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    response.end(
      `<!doctype html><title>Host</title><style>body{margin:0}iframe{border:0;display:block}</style>${html.get(request.url)}`,
    );
  });
  await new Promise((resolve) => host.listen(0, "127.0.0.1", resolve));
  context.after(() => host.close());
  return `http://127.0.0.1:${host.address().port}`;
}

/** What cannot be seen of a page without scrolling: its own overflow, and elements that cut off what is in them. */
const hidden = (frame) =>
  frame.evaluate(() => {
    const { scrollWidth, scrollHeight, clientWidth, clientHeight } = document.documentElement;
    const isCut = (node) =>
      getComputedStyle(node).overflow !== "visible" &&
      !node.matches(".unseen") &&
      (node.scrollWidth > node.clientWidth || node.scrollHeight > node.clientHeight);
    return {
      across: Math.max(0, scrollWidth - clientWidth),
      down: Math.max(0, scrollHeight - clientHeight),
      cut: [...document.querySelectorAll("main *")].filter(isCut).map((node) => node.textContent),
    };
  });

test("the HTML that is offered for a frame shows all of a poll on the narrowest phone, whatever happens in it", async (context) => {
  const html = new Map();
  const there = await hostOf(context, html);
  const framed = async (name) => {
    const poll = await createPoll(POLLS[name]);
    const snippets = [];
    for (const [locale, [summary, label]] of Object.entries(TONGUES)) {
      const author = await open(await visitor(context, { locale }), `/p/${poll.id}`);
      await author.getByText(summary).click();
      snippets.push(await author.getByLabel(label, { exact: true }).inputValue());
    }
    assert.equal(snippets[0], snippets[1], "the height fits those who read, whatever the author speaks");
    assert.match(snippets[0], /^<iframe src="[^"]+" width="100%" height="\d+" style="border: 0" title="[^"]+"><\/iframe>$/);
    html.set(`/${name}`, snippets[0]);

    const readers = [];
    for (const locale of Object.keys(TONGUES)) {
      const viewport = { width: NARROWEST, height: 700 };
      const page = await visitor(context, { locale, viewport, origins: [ORIGIN, there], expected: [/favicon/] });
      // Of all that is said of a connection, this has the most words.
      await page.routeWebSocket(/\/live/, (socket) => socket.close());
      await page.goto(`${there}/${name}`);
      readers.push([locale, page, page.frames()[1]]);
    }
    const look = async (state, sign) => {
      for (const [locale, page, frame] of readers) {
        await frame.locator(sign).first().waitFor();
        await frame.locator('.phase[data-phase="polling"]').waitFor();
        await frame.evaluate(() => document.fonts.ready);
        await picture(page, `frame-${name}-${state}-${locale}`, { fullPage: true });
        assert.deepEqual(await hidden(frame), { across: 0, down: 0, cut: [] }, `${name}, ${state}, ${locale}`);
      }
    };
    await look("empty", '.chip[data-state="open"]');
    await castVotes(poll, [700, 300]);
    await castVotes(poll, [400, 300]);
    await look("open", ".meta :text-matches('1[.,]700')");
    await closePoll(poll);
    await look("closed", '.chip[data-state="closed"]');
  };
  await Promise.all(Object.keys(POLLS).map(framed));
});
