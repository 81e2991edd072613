// What the owner of a poll may do. The token is kept in this browser only, and shown once.

import { announce } from "./announce.js";
import { archivePoll, closePoll, exportPoll } from "./api.js";
import { copyField } from "./copy.js";
import { confirmed } from "./dialog.js";
import { element, newName } from "./dom.js";
import * as memory from "./memory.js";
import { go } from "./router.js";
import { problemText, text } from "./texts.js";

/** The poll whose token is to be shown: it was created just now. */
let fresh = null;

/** Has the token of this poll shown at the next visit to it. */
export function showToken(poll) {
  fresh = poll;
}

/** The token, if the poll was created just now, as long as its page `kept` it; null at any later visit. */
export function tokenNotice(poll, kept) {
  kept.isFresh ??= fresh === poll.id;
  fresh = null;
  const token = kept.isFresh && memory.owner.read(poll.id);
  return token
    ? element(
        "section",
        { class: "notice good token" },
        element("h2", {}, text("owner.created")),
        copyField(text("owner.token"), token),
        element("p", { class: "note" }, text(memory.owner.isKept(poll.id) ? "owner.once" : "owner.unkept")),
      )
    : null;
}

/** The panel: `{node, update(poll)}`; `refresh` asks for the poll again. */
export function ownerPanel(poll, refresh) {
  const node = element("section", { class: "panel owner", "aria-label": text("owner.title") });
  let shown = null;

  function draw(changed) {
    const token = memory.owner.read(changed.id);
    const state = `${changed.state} ${token}`;
    if (state !== shown) {
      shown = state;
      node.replaceChildren(...(token ? controls(changed, token, redraw) : [entry(changed, redraw)]));
    }
  }

  function redraw() {
    draw(poll);
    refresh().catch(() => {});
  }

  draw(poll);
  return {
    node,
    update(changed) {
      poll = changed;
      draw(changed);
    },
  };
}

function controls(poll, token, redraw) {
  const told = element("p", { class: "note error", role: "alert" });
  const act = (action) => async () => {
    told.textContent = "";
    try {
      await action();
    } catch (problem) {
      const isWrong = problem.status === 401 || problem.status === 403;
      told.textContent = isWrong ? text("owner.wrong") : problemText(problem);
    }
  };
  const close = act(async () => {
    if (await confirmed(text("close.ask"), text("close.note"), text("owner.close"))) {
      await closePoll(poll.id, token);
      redraw();
    }
  });
  const archive = act(async () => {
    if (await confirmed(text("archive.ask"), text("archive.note"), text("owner.archive"))) {
      await archivePoll(poll.id, token);
      memory.owner.write(poll.id, null);
      go("/");
      announce(text("archive.done"));
    }
  });
  const save = act(async () => download(await exportPoll(poll.id, token), `poll-${poll.id}.csv`));
  const forget = () => {
    memory.owner.write(poll.id, null);
    redraw();
  };
  return [
    element("h2", {}, text("owner.title")),
    element(
      "div",
      { class: "row" },
      poll.state === "closed" ? null : element("button", { type: "button", onclick: close }, text("owner.close")),
      element("button", { type: "button", onclick: save }, text("owner.export")),
      element("button", { type: "button", class: "danger", onclick: archive }, text("owner.archive")),
    ),
    told,
    element("button", { type: "button", class: "quiet", onclick: forget }, text("owner.forget")),
  ];
}

/** Where somebody says that the poll is theirs, in another browser than the one that created it. */
function entry(poll, redraw) {
  const name = newName();
  const input = element("input", { id: name, type: "password", autocomplete: "off", required: true });
  return element(
    "details",
    {},
    element("summary", {}, text("owner.enter")),
    element(
      "form",
      {
        class: "field",
        onsubmit: (event) => {
          event.preventDefault();
          memory.owner.write(poll.id, input.value.trim());
          redraw();
        },
      },
      element("label", { for: name }, text("owner.token")),
      element("div", { class: "copy" }, input, element("button", {}, text("owner.own"))),
    ),
  );
}

function download(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = element("a", { href: address, download: name });
  link.click();
  URL.revokeObjectURL(address);
}
