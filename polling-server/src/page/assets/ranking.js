// The options with the most votes as a list whose rows glide to their new places.

import { arrange } from "./arrange.js";
import { keyOf, movementOf, ranksOf } from "./board.js";
import { element, unseen, write } from "./dom.js";
import { gliding } from "./flip.js";
import { handOver } from "./focus.js";
import { number } from "./format.js";
import { pollPath } from "./link.js";
import { text } from "./texts.js";

/** Milliseconds for which a row says how it has moved. */
const MOVED_FOR = 5000;
const ARROWS = { up: "▲", down: "▼" };

/**
 * A list of at most `limit` entries: `{node, update(entries)}`, which answers whether they differ from those before. `heading` has the
 * focus when the last row goes that had it.
 */
export function ranking(limit, heading) {
  const list = element("ol", { class: "board" });
  const empty = element("p", { class: "soft" }, text("board.empty"));
  const rows = new Map();
  let ranks = null;
  let known = null;
  return {
    node: element("div", {}, list, empty),
    update(all) {
      const entries = all.slice(0, limit);
      const most = entries[0]?.votes ?? 1;
      const shown = entries.map((entry) => {
        const key = keyOf(entry);
        const row = rows.get(key) ?? entryRow(entry);
        rows.set(key, row);
        row.update(entry, most, movementOf(entry, ranks));
        return row.node;
      });
      const draw = () => {
        const leaving = [...list.children].filter((node) => !shown.includes(node));
        handOver(list, leaving, heading);
        arrange(list, shown);
      };
      if (ranks === null) {
        draw();
      } else if (shown.length !== list.children.length || shown.some((node, place) => node !== list.children[place])) {
        gliding(list, draw);
      }
      ranks = ranksOf(entries);
      [...rows.keys()].filter((key) => !ranks.has(key)).forEach((key) => rows.delete(key));
      empty.hidden = entries.length > 0;
      const former = known;
      known = JSON.stringify(entries.map((entry) => [keyOf(entry), entry.votes]));
      return known !== former;
    },
  };
}

function entryRow({ poll_id: poll, question, text: option }) {
  const rank = element("span", { class: "rank" });
  const moved = element("span", { class: "moved" });
  const votes = element("strong", { class: "board-votes" });
  const fill = element("span", { class: "fill", "aria-hidden": "true" });
  const node = element(
    "li",
    { class: "board-row" },
    fill,
    rank,
    element(
      "div",
      { class: "board-text" },
      element("p", { class: "board-option" }, option, moved),
      element("a", { href: pollPath(poll) }, question),
    ),
    votes,
  );
  let timer = null;
  return {
    node,
    update(entry, most, movement) {
      node.classList.toggle("is-first", entry.rank === 1);
      write(rank, number(entry.rank));
      write(votes, text("count.votes", { count: entry.votes }));
      fill.style.setProperty("--share", entry.votes / most);
      if (movement.kind === "same") {
        return;
      }
      clearTimeout(timer);
      moved.dataset.kind = movement.kind;
      moved.replaceChildren(...movementWords(movement));
      timer = setTimeout(() => moved.replaceChildren(), MOVED_FOR);
    },
  };
}

function movementWords({ kind, places }) {
  if (kind === "new") {
    return [text("board.new")];
  }
  return [
    element("span", { "aria-hidden": "true" }, `${ARROWS[kind]} ${number(places)}`),
    unseen(text(`board.${kind}`, { count: places })),
  ];
}
