// Shows the view that the address names, and moves between views.

import { pauseAfter } from "./backoff.js";
import { followLinks, routeOf } from "./router.js";
import { drawShell } from "./shell.js";
import { preferred, speak, text } from "./texts.js";
import { create } from "./views/create.js";
import { embed } from "./views/embed.js";
import { failed, gone } from "./views/failed.js";
import { home } from "./views/home.js";
import { leaderboard } from "./views/leaderboard.js";
import { poll } from "./views/poll.js";
import { present } from "./views/present.js";

/**
 * A view is a function of the route, a signal that ends it, and what stays while the address does: an object in which it leaves what must
 * not be lost when it is drawn anew, in another language. It answers `{title, content}`, or throws a `Problem`.
 */
const VIEWS = { home, create, leaderboard, poll, present, embed, gone };

const place = document.getElementById("view");
let visit = new AbortController();

async function show({ isFirst = false, failures = 0, kept = {} } = {}) {
  visit.abort();
  visit = new AbortController();
  const { signal } = visit;
  const route = routeOf(location.pathname);
  const again = () => show({ isFirst: true, kept });
  drawShell(route, again);
  place.setAttribute("aria-busy", "true");
  let shown;
  try {
    shown = await VIEWS[route.name](route, signal, kept);
  } catch (problem) {
    if (signal.aborted) {
      return;
    }
    shown = problem.status === 404 ? await gone(route, signal) : failed(problem, again);
    if (problem.isPassing) {
      const timer = setTimeout(
        () => show({ isFirst: true, failures: failures + 1, kept }),
        Math.max(pauseAfter(failures + 1), problem.retryAfter),
      );
      signal.addEventListener("abort", () => clearTimeout(timer));
    }
  }
  if (signal.aborted) {
    return;
  }
  document.documentElement.dataset.view = route.name;
  document.title = shown.title === text("site.name") ? shown.title : `${shown.title} · ${text("site.name")}`;
  const held = place.contains(document.activeElement) && document.activeElement;
  place.replaceChildren(shown.content);
  place.removeAttribute("aria-busy");
  if (isFirst && held) {
    stay(held);
  }
  if (!isFirst) {
    // Whoever hears the page is told where they are; whoever uses the keyboard goes on from here.
    scrollTo(0, 0);
    place.querySelector("h1")?.focus({ preventScroll: true });
  }
}

/** Has the focus on what stands in the view for a control of the former one, which was drawn anew; or else on its title. */
function stay({ name, value, type, selectionStart = null, selectionEnd }) {
  const isOneOf = type === "radio" || type === "checkbox";
  const same = [...place.querySelectorAll("[name]")].find((one) => one.name === name && (!isOneOf || one.value === value));
  (same ?? place.querySelector("h1"))?.focus({ preventScroll: true });
  if (same && selectionStart !== null) {
    same.setSelectionRange(selectionStart, selectionEnd);
  }
}

speak(preferred());
followLinks();
addEventListener("popstate", () => show());
show({ isFirst: true });
