// The options of a poll with their bars, as a ballot or to look at.

import { element, newName, write } from "./dom.js";
import { percent } from "./format.js";
import { areShown, leaders } from "./results.js";
import { text } from "./texts.js";

/**
 * The options as a list: `{node, update(poll)}`. `input` is `radio`, `checkbox` or null for a list that is only looked at; `mine`
 * has the ids that this visitor chose.
 */
export function optionList(poll, { input = null, mine = [] } = {}) {
  const rows = poll.results.options.map((option) => row(option, input, mine.includes(option.id)));
  const node = element("ul", { class: "options" }, ...rows.map((made) => made.node));
  const list = {
    node,
    update(changed) {
      const isShown = areShown(changed);
      const first = new Set(leaders(changed).map((option) => option.id));
      node.classList.toggle("is-hidden", !isShown);
      changed.results.options.forEach((option, index) => rows[index].update(option, isShown, first.has(option.id)));
    },
  };
  list.update(poll);
  return list;
}

function row(option, input, isMine) {
  const [label, numbers] = [newName(), newName()];
  const fill = element("span", { class: "fill", "aria-hidden": "true" });
  const share = element("strong");
  const votes = element("span", { class: "votes" });
  const control =
    input &&
    element("input", {
      type: input,
      name: "choice",
      value: option.id,
      checked: isMine,
      "aria-labelledby": label,
      "aria-describedby": numbers,
    });
  const node = element(
    "li",
    { class: "option" },
    element(
      input ? "label" : "div",
      { class: "option-row" },
      fill,
      control,
      element(
        "span",
        { class: "option-text", id: label },
        option.text,
        isMine && !input ? element("span", { class: "mine" }, text("ballot.mine")) : null,
      ),
      element("span", { class: "numbers", id: numbers }, share, " ", votes),
    ),
  );
  return {
    node,
    update(changed, isShown, isFirst) {
      node.classList.toggle("is-first", isFirst);
      fill.style.setProperty("--share", isShown ? changed.share : 0);
      write(share, isShown ? percent(changed.share) : "");
      write(votes, isShown ? text("count.votes", { count: changed.votes }) : "");
    },
  };
}
