// Which view an address shows. Pure, but for `go`.

import { idOf } from "./link.js";

const POLL_VIEWS = { "": "poll", present: "present", embed: "embed" };
const PAGES = { "/": "home", "/new": "create", "/top": "leaderboard" };

/** The view of a path: `{name, id?}`; the name is `gone` for what leads nowhere. */
export function routeOf(path) {
  if (Object.hasOwn(PAGES, path)) {
    return { name: PAGES[path] };
  }
  const [, code, view = ""] = /^\/p\/([^/]+)(?:\/(\w+))?$/.exec(path) ?? [];
  const id = code ? idOf(code) : null;
  const name = Object.hasOwn(POLL_VIEWS, view) ? POLL_VIEWS[view] : null;
  return id && name ? { name, id } : { name: "gone" };
}

/** Goes to another view without loading the page anew. */
export function go(path) {
  history.pushState(null, "", path);
  dispatchEvent(new PopStateEvent("popstate"));
}

/** Whether this page is shown within another one, which may be anybody's. */
export function isFramed() {
  return window.top !== window;
}

/**
 * Follows links to our own views, and leaves all others to the browser.
 *
 * In a frame, all of them: which views may be shown there is for the server to say, and it says so when they are loaded. Were they
 * shown without that, another site could lay something over their buttons.
 */
export function followLinks() {
  if (isFramed()) {
    return;
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    const isPlain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
    if (!link || !isPlain || event.defaultPrevented || link.target || link.hasAttribute("download")) {
      return;
    }
    const address = new URL(link.href);
    const isOurs = address.origin === location.origin && routeOf(address.pathname).name !== "gone";
    if (isOurs && !address.hash) {
      event.preventDefault();
      go(address.pathname + address.search);
    }
  });
}
