// The ways in which a poll is passed on.

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
  const source = location.origin + pollPath(poll.id, "embed");
  const frame = `<iframe src="${source}" width="100%" height="420" title="${escaped(poll.question)}"></iframe>`;
  return element(
    "section",
    { class: "panel share", "aria-labelledby": "share-title" },
    element("h2", { id: "share-title" }, text("share.title")),
    qrCode(votingLink(poll), text("share.code")),
    copyField(text("share.link"), votingLink(poll)),
    LOCAL.includes(location.hostname) ? element("p", { class: "note" }, text("share.local")) : null,
    element("a", { class: "button", href: pollPath(poll.id, "present") }, text("share.present")),
    element("details", {}, element("summary", {}, text("share.embed")), copyField(text("share.frame"), frame)),
  );
}

function escaped(words) {
  return words.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
}
