// A poll as it is shown in a frame of another site, and how much room it needs there.

import { element, unseen } from "./dom.js";
import { pollPath } from "./link.js";
import { optionList } from "./options.js";
import { phaseMark } from "./phase.js";
import { areShown } from "./results.js";
import { stateChip, timeNote } from "./summary.js";
import { LANGUAGES, inLanguage, text } from "./texts.js";

/** Votes of an option, and voters, that take as much room as any will. */
const CROWD = 999_999;
/** Milliseconds to or from a moment whose distance takes as much room as any: ten months. */
const FAR = 300 * 86_400_000;

/** The poll: `{node, phase, update(poll)}`. */
export function card(first) {
  const phase = phaseMark();
  const meta = element("p", { class: "meta" });
  const hidden = element("p", { class: "soft" });
  const list = optionList(first);
  const words = element("span");
  const link = element(
    "a",
    { class: "button primary", href: pollPath(first.id), target: "_blank", rel: "noopener" },
    words,
    unseen(` (${text("embed.new")})`),
  );

  function update(poll) {
    const voters = element("span", {}, text("count.voters", { count: poll.results.voters }));
    meta.replaceChildren(...[stateChip(poll), voters, timeNote(poll)].filter(Boolean));
    list.update(poll);
    words.textContent = text(poll.state === "open" ? "embed.vote" : "embed.open");
    hidden.hidden = areShown(poll);
    hidden.textContent = areShown(poll) ? "" : text(`results.hidden.${poll.results_visibility}`);
  }

  update(first);
  const node = element(
    "article",
    { class: "embed-view" },
    element("h1", { tabindex: "-1" }, first.question),
    list.node,
    hidden,
    element("div", { class: "embed-foot" }, meta, phase.node, link),
  );
  return { node, phase, update };
}

/** Pixels that the poll is high on the narrowest phone, in whichever language it is read there and whatever becomes of it. */
export function heightOf(poll) {
  const box = element("div", { class: "embed-room", inert: true });
  document.body.append(box);
  const heights = Object.keys(LANGUAGES).flatMap((tag) =>
    becoming(poll).map((later) => {
      const made = inLanguage(tag, () => {
        const made = card(later);
        made.phase.show("polling");
        return made;
      });
      box.replaceChildren(made.node);
      return box.getBoundingClientRect().height;
    }),
  );
  box.remove();
  return Math.ceil(Math.max(...heights));
}

/** What a poll may become, each as wordy as it may be. */
function becoming(poll) {
  const at = (distance) => new Date(Date.now() + distance).toISOString();
  const states = [
    { state: "scheduled", opens_at: poll.opens_at && at(FAR) },
    { state: "open", closes_at: poll.closes_at && at(FAR) },
    { state: "closed", closes_at: at(-FAR) },
  ];
  const options = poll.results.options.map(({ id, text }) => ({ id, text }));
  const crowded = options.map((option) => ({ ...option, votes: CROWD, share: 0.999 }));
  const looks = poll.results_visibility === "always" ? [crowded] : [crowded, options];
  return states.flatMap((state) =>
    looks.map((look) => ({ ...poll, ...state, results: { ...poll.results, voters: CROWD, options: look } })),
  );
}
