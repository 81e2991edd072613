// What the page says, in the language of its visitor. The texts themselves are in `texts/`, one file a language.

import { de } from "./texts/de.js";
import { en } from "./texts/en.js";
import { language as kept } from "./memory.js";

export const LANGUAGES = { en, de };

let current = "en";

/** The language to begin with: what was chosen here, or the first of the browser's languages that there is. */
export function preferred(chosen = kept.read(), offered = navigator.languages ?? [navigator.language]) {
  const known = [chosen, ...offered].filter(Boolean).map((tag) => tag.slice(0, 2).toLowerCase());
  return known.find((tag) => tag in LANGUAGES) ?? "en";
}

/** The language of the page now. */
export function language() {
  return current;
}

/** The language with its region, as far as the browser names one: numbers and dates differ by region. */
export function locale() {
  return (globalThis.navigator?.languages ?? []).find((tag) => tag.slice(0, 2) === current) ?? current;
}

/** Speaks this language from now on. */
export function speak(tag) {
  current = tag;
  document.documentElement.lang = tag;
}

/** What `make` answers when it is called in this language, which the page itself does not speak for that. */
export function inLanguage(tag, make) {
  const former = current;
  current = tag;
  try {
    return make();
  } finally {
    current = former;
  }
}

/**
 * The text of this name. `{NAME}` in it is replaced from `values`, numbers in the way of the language; a text with several forms
 * is chosen by `values.count`.
 */
export function text(name, values = {}) {
  const found = LANGUAGES[current][name];
  if (found === undefined) {
    throw new Error(`there is no text "${name}"`);
  }
  const form = typeof found === "string" ? found : formOf(found, values.count);
  return form.replaceAll(/\{(\w+)\}/g, (_, key) => {
    const value = values[key];
    return typeof value === "number" ? new Intl.NumberFormat(locale()).format(value) : String(value);
  });
}

function formOf(forms, count) {
  return (count === 0 && forms.zero) || (forms[new Intl.PluralRules(current).select(count)] ?? forms.other);
}

/** Whether there is a text of this name. */
export function has(name) {
  return name in LANGUAGES[current];
}

/** A problem in words. */
export function problemText(problem) {
  if (has(`problem.${problem.name}`)) {
    return text(`problem.${problem.name}`);
  }
  return [problem.title, problem.message].filter(Boolean).join(". ") || text("problem.internal");
}

/** What the server says is wrong with a field. It speaks English; what is not known here stays as it is. */
export function detailText(detail) {
  for (const [pattern, name] of DETAILS) {
    const found = pattern.exec(detail);
    if (found) {
      return text(name, { first: Number(found[1]), last: Number(found[2]) });
    }
  }
  return detail;
}

const DETAILS = [
  [/^must have (\d+) to (\d+) characters/, "rule.characters"],
  [/^must have (\d+) to (\d+) items/, "rule.items"],
  [/^must differ from the other options/, "rule.differ"],
  [/^must be between 1 and the number of options/, "rule.choices"],
  [/^must be in the future/, "rule.future"],
  [/^must be after opens_at/, "rule.order"],
  [/^must be a time/, "rule.time"],
];
