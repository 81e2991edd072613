// What stands around every view: where to go, and how the page looks and speaks.

import { element, picture } from "./dom.js";
import * as memory from "./memory.js";
import { LANGUAGES, language, speak, text } from "./texts.js";

const LINKS = [
  ["home", "/", "nav.polls"],
  ["leaderboard", "/top", "nav.leaderboard"],
];
const THEMES = ["auto", "light", "dark"];
const MARK = "M3 5h10v4H3zM3 11h18v4H3zM3 17h6v4H3z";

/** Draws header and footer; `again` draws everything anew, after the language has changed. */
export function drawShell(route, again) {
  const skip = document.getElementById("skip");
  skip.textContent = text("site.skip");
  skip.onclick = (event) => {
    event.preventDefault();
    document.getElementById("view").focus();
  };
  document
    .getElementById("header")
    .replaceChildren(
      element("a", { class: "brand", href: "/" }, picture("0 0 24 24", MARK), text("site.name")),
      element(
        "nav",
        { class: "nav", "aria-label": text("site.navigation") },
        ...LINKS.map(([name, href, label]) =>
          element("a", { href, "aria-current": route.name === name ? "page" : null }, text(label)),
        ),
      ),
      element(
        "a",
        { class: "button primary create", href: "/new", "aria-current": route.name === "create" ? "page" : null },
        text("nav.create"),
      ),
    );
  document
    .getElementById("footer")
    .replaceChildren(
      element(
        "nav",
        { "aria-label": text("footer.docs") },
        element("a", { href: "/docs" }, text("footer.docs")),
        element("a", { href: "/openapi.json" }, text("footer.openapi")),
        element("a", { href: "/asyncapi.json" }, text("footer.asyncapi")),
      ),
      element("div", { class: "settings" }, languageChoice(again), themeChoice()),
    );
}

function choice(label, options, chosen, onChange) {
  const select = element(
    "select",
    { onchange: () => onChange(select.value) },
    ...options.map(([value, name]) => element("option", { value, selected: value === chosen }, name)),
  );
  return element("label", { class: "setting" }, element("span", {}, label), select);
}

function languageChoice(again) {
  const options = Object.entries(LANGUAGES).map(([tag, texts]) => [tag, texts["language.name"]]);
  return choice(text("site.language"), options, language(), (tag) => {
    memory.language.write(tag);
    speak(tag);
    again();
    document.querySelector(".setting select").focus();
  });
}

function themeChoice() {
  const options = THEMES.map((theme) => [theme, text(`theme.${theme}`)]);
  return choice(text("site.theme"), options, memory.theme.read() ?? "auto", (theme) => {
    memory.theme.write(theme === "auto" ? null : theme);
    if (theme === "auto") {
      delete document.documentElement.dataset.theme;
    } else {
      document.documentElement.dataset.theme = theme;
    }
    dispatchEvent(new Event("themechange"));
  });
}
