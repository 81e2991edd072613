// Where one votes, and what became of the vote.

import { announce } from "./announce.js";
import { cast, retract, settle } from "./cast.js";
import { copyField } from "./copy.js";
import { confirmed } from "./dialog.js";
import { element, unseen } from "./dom.js";
import { distance } from "./format.js";
import * as memory from "./memory.js";
import { optionList } from "./options.js";
import { choicesOf, hasVoted, isUnanswered, modeOf } from "./standing.js";
import { problemText, text } from "./texts.js";

/**
 * The ballot with the results in it: `{node, update(poll)}`. `onCounted` is called when this visitor's vote is known to be
 * counted, or retracted: results that were hidden may be shown from then on, or hidden. In `unsent` it leaves what was chosen and not
 * sent yet, and begins with what is in there.
 */
export function ballot(first, onCounted, signal, unsent) {
  let poll = first;
  let kept = memory.vote.read(poll.id);
  let isChanging = unsent.isChanging ?? false;
  let isActing = false;
  let mode = null;
  let drawn = null;
  let list = null;
  const form = element("form", { class: "ballot", onsubmit: submit });
  const told = element("p", { class: "told", role: "alert" });
  const receipt = element("section", { class: "receipt", tabindex: "-1", "aria-labelledby": "receipt-title" });
  const node = element("div", {}, form, told, receipt);

  function draw() {
    mode = modeOf(poll, kept, isChanging);
    const mine = choicesOf(kept);
    const look = `${mode} ${mine}`;
    if (look === drawn) {
      // A choice that is made and not sent yet stays.
      list.update(poll);
      return;
    }
    if (drawn !== null) {
      unsent.choices = null;
    }
    drawn = look;
    unsent.isChanging = mode === "change";
    const isBallot = mode === "vote" || mode === "change";
    const input = isBallot ? (poll.max_choices > 1 ? "checkbox" : "radio") : null;
    list = optionList(poll, { input, mine: (isBallot && unsent.choices) || mine });
    form.replaceChildren(
      isBallot
        ? element("fieldset", {}, element("legend", {}, unseen(`${poll.question} `), legendText(poll)), list.node)
        : list.node,
      ...controls(),
    );
    limit();
  }

  function drawReceipt(isAgain = false) {
    receipt.hidden = kept === null;
    if (kept === null) {
      return;
    }
    const outcome = isUnanswered(kept) ? "unanswered" : kept.status;
    const sending = isAgain ? (kept.retraction ? "retract.again" : "ballot.again") : "ballot.sending";
    const words = text(outcome === "unanswered" ? sending : `receipt.${outcome}`);
    receipt.replaceChildren(
      element("h2", { id: "receipt-title" }, text("receipt.title")),
      element("p", { class: "outcome", "data-outcome": outcome }, words),
      ...(kept.receipt
        ? [copyField(text("receipt.name"), kept.receipt), element("p", { class: "note" }, text("receipt.note"))]
        : []),
    );
  }

  /** What was sent and not answered is sent again when the visitor wants it. Until then, nothing is known that could be shown. */
  function tellUnsure() {
    told.textContent = text(kept.retraction ? "retract.unsure" : "ballot.unsure");
    receipt.hidden = true;
  }

  function controls() {
    if (mode === "scheduled") {
      return [element("p", { class: "soft" }, text("ballot.scheduled", { when: distance(poll.opens_at) }))];
    }
    if (mode === "closed") {
      return [element("p", { class: "soft" }, text("ballot.closed"))];
    }
    if (mode === "voted") {
      return poll.allow_change
        ? [element("div", { class: "row" }, button("ballot.change", change), button("ballot.retract", takeBack, "quiet"))]
        : [];
    }
    const note = text(poll.allow_change ? "ballot.changeable" : "ballot.final");
    return [
      element(
        "div",
        { class: "row" },
        element("button", { class: "primary large" }, text(mode === "change" ? "ballot.save" : "ballot.vote")),
        mode === "change" ? button("ballot.cancel", () => leaveChange(), "quiet") : null,
        element("span", { class: "note counter" }),
      ),
      element("p", { class: "note" }, note),
    ];
  }

  /** With several choices: says how many are made, and takes no more than the poll allows. */
  function limit() {
    const boxes = [...form.querySelectorAll("input[type=checkbox]")];
    const chosen = boxes.filter((box) => box.checked).length;
    boxes.forEach((box) => {
      box.disabled = !box.checked && chosen >= poll.max_choices;
    });
    if (boxes.length > 0) {
      form.querySelector(".counter").textContent = text("ballot.chosen", { chosen, count: poll.max_choices });
    }
  }

  const chosen = () => new FormData(form).getAll("choice").map(Number);

  function tell(next, isAgain) {
    const wasSettled = kept?.status === next.status;
    kept = next;
    // What is heard of a vote by asking again is no end of its being changed.
    isChanging &&= !isActing || isUnanswered(kept);
    drawReceipt(isAgain);
    // A vote that is on its way keeps the ballot as it is: it may have to be sent again.
    if (!isUnanswered(kept)) {
      draw();
      if (isActing) {
        receipt.focus({ preventScroll: true });
      }
    }
    announce(receipt.querySelector(".outcome").textContent, "vote");
    if (!wasSettled && (kept.status === "counted" || kept.status === "retracted")) {
      onCounted();
    }
  }

  async function attempt(action) {
    told.textContent = "";
    isActing = true;
    form.inert = true;
    try {
      await action();
    } catch (problem) {
      if (!signal.aborted) {
        kept = memory.vote.read(poll.id);
        drawReceipt();
        draw();
        if (isUnanswered(kept)) {
          tellUnsure();
        } else {
          told.textContent = problemText(problem);
        }
      }
    } finally {
      isActing = false;
      form.inert = false;
      if (told.textContent !== "") {
        form.querySelector("input:checked, input, button")?.focus();
      }
    }
  }

  async function submit(event) {
    event.preventDefault();
    const choices = chosen();
    if (choices.length === 0) {
      told.textContent = text("ballot.missing");
      form.querySelector("input").focus();
      return;
    }
    await attempt(() => cast(poll.id, choices, tell, signal));
  }

  function change() {
    isChanging = true;
    draw();
    (form.querySelector("input:checked") ?? form.querySelector("input")).focus();
  }

  function leaveChange() {
    isChanging = false;
    draw();
    form.querySelector("button").focus();
  }

  async function takeBack() {
    if (await confirmed(text("retract.ask"), text("retract.note"), text("ballot.retract"))) {
      await attempt(() => retract(poll.id, tell, signal));
    }
  }

  function button(words, onclick, look = "") {
    return element("button", { type: "button", class: look, onclick }, text(words));
  }

  /** In another tab, the same person may have voted. */
  function recall() {
    const known = memory.vote.read(poll.id);
    if (!isActing && JSON.stringify(known) !== JSON.stringify(kept)) {
      kept = known;
      drawReceipt();
      draw();
    }
  }

  addEventListener("storage", recall, { signal });
  form.addEventListener("change", () => {
    unsent.choices = chosen();
    limit();
  });
  draw();
  drawReceipt();
  if (isUnanswered(kept)) {
    tellUnsure();
  } else if (kept?.receipt && (hasVoted(kept) || kept.isRetraction)) {
    // It may have been replaced meanwhile, or not have been known when the page was left.
    settle(poll.id, { ...kept, status: "pending" }, tell, signal).catch(() => {});
  }

  return {
    node,
    update(changed) {
      poll = changed;
      draw();
    },
  };
}

function legendText(poll) {
  return poll.max_choices > 1 ? text("ballot.several", { count: poll.max_choices }) : text("ballot.one");
}
