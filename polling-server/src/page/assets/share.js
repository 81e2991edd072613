// The ways in which a poll is passed on.

import { heightOf } from "./card.js";
import { copyField } from "./copy.js";
import { element } from "./dom.js";
import { pollPath } from "./link.js";
import { qrCode } from "./qr.js";
import { text } from "./texts.js";

/** Names under which a machine reaches nobody but itself. */
const LOCAL = ["localhost", "127.0.0.1", "[::1]"];

/** The address at which people vote. */
export function votingLink(poll) {
  return location.origin + pollPath(poll.id);
}

/** The panel with link, code, presentation and frame. */
export function sharePanel(poll) {
  return element(
    "section",
    { class: "panel share", "aria-labelledby": "share-title" },
    element("h2", { id: "share-title" }, text("share.title")),
    qrCode(votingLink(poll), text("share.code")),
    copyField(text("share.link"), votingLink(poll)),
    LOCAL.includes(location.hostname) ? element("p", { class: "note" }, text("share.local")) : null,
    element("a", { class: "button", href: pollPath(poll.id, "present") }, text("share.present")),
    frameOffer(poll),
  );
}

/** The HTML of a frame. How high it has to be is found out by drawing it, so this is done for those who want to have it. */
function frameOffer(poll) {
  const summary = element("summary", {}, text("share.embed"));
  const node = element("details", {}, summary);
  node.addEventListener("toggle", () => node.append(copyField(text("share.frame"), frameOf(poll))), { once: true });
  return node;
}

function frameOf(poll) {
  const source = location.origin + pollPath(poll.id, "embed");
  const title = escaped(poll.question);
  return `<iframe src="${source}" width="100%" height="${heightOf(poll)}" style="border: 0" title="${title}"></iframe>`;
}

function escaped(words) {
  return words.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
}
