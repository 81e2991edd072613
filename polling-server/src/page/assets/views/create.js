// A new poll.

import { createPoll } from "../api.js";
import { announce } from "../announce.js";
import { element, newName, picture } from "../dom.js";
import { pollPath } from "../link.js";
import { owner } from "../memory.js";
import { showToken } from "../owner.js";
import { go } from "../router.js";
import { detailText, problemText, text } from "../texts.js";

const OPTIONS_MIN = 2;
const OPTIONS_MAX = 100;
const CROSS = "M6 6l12 12M18 6L6 18";
const VISIBILITIES = ["always", "after_vote", "after_close"];

export async function create(_, signal, kept) {
  const options = optionFields(kept.typed?.getAll("option") ?? Array(OPTIONS_MIN).fill(""));
  const question = element("textarea", {
    name: "question",
    rows: "2",
    maxlength: "500",
    placeholder: text("create.hint"),
    required: true,
  });
  const choices = element("input", {
    type: "number",
    name: "max_choices",
    min: "1",
    max: String(OPTIONS_MAX),
    value: "1",
    inputmode: "numeric",
  });
  const change = element("input", { type: "checkbox", name: "allow_change" });
  const opens = element("input", { type: "datetime-local", name: "opens_at" });
  const closes = element("input", { type: "datetime-local", name: "closes_at" });
  const key = element("input", { type: "password", name: "key", autocomplete: "off" });
  const keyField = field(text("create.key"), key, text("create.key.note"));
  const summary = element("div", { class: "notice bad", role: "alert", tabindex: "-1", hidden: true });
  const submit = element("button", { class: "primary large" }, text("create.submit"));

  const form = element(
    "form",
    { class: "create-form", novalidate: true },
    summary,
    field(text("create.question"), question, null, "/question"),
    options.node,
    element(
      "fieldset",
      {},
      element("legend", {}, text("create.rules")),
      field(text("create.choices"), choices, null, "/max_choices"),
      element("label", { class: "check" }, change, text("create.change")),
    ),
    visibility(),
    element(
      "fieldset",
      {},
      element("legend", {}, text("create.times")),
      element(
        "div",
        { class: "pair" },
        field(text("create.opens"), opens, text("create.opens.note"), "/opens_at"),
        field(text("create.closes"), closes, text("create.closes.note"), "/closes_at"),
      ),
    ),
    keyField,
    submit,
  );

  const draft = () => ({
    question: question.value,
    options: options.values(),
    max_choices: Number.parseInt(choices.value, 10) || 0,
    allow_change: change.checked,
    results: form.elements.results.value,
    opens_at: timeOf(opens),
    closes_at: timeOf(closes),
  });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    clearErrors(form, summary);
    try {
      const poll = await createPoll(draft(), key.value);
      owner.write(poll.id, poll.owner_token);
      showToken(poll.id);
      go(pollPath(poll.id));
    } catch (problem) {
      keyField.hidden &&= problem.status !== 401;
      showErrors(form, summary, problem);
    } finally {
      submit.disabled = false;
    }
  });

  if (kept.typed) {
    fill(form, kept.typed);
  }
  keyField.hidden = !kept.isKeyed;
  signal.addEventListener("abort", () => {
    kept.typed = new FormData(form);
    kept.isKeyed = !keyField.hidden;
  });

  const title = text("create.title");
  return { title, content: element("section", { class: "create-view" }, element("h1", { tabindex: "-1" }, title), form) };
}

/** Writes into a form what was typed into one like it. */
function fill(form, typed) {
  for (const control of form.querySelectorAll("[name]:not([name=option])")) {
    if (control.type === "checkbox" || control.type === "radio") {
      control.checked = typed.get(control.name) === control.value;
    } else {
      control.value = typed.get(control.name);
    }
  }
}

/** A labelled control; `pointer` is what the server calls it when it is wrong. */
function field(label, control, note, pointer = null) {
  const [name, about] = [newName(), newName()];
  control.id = name;
  control.setAttribute("aria-describedby", about);
  return element(
    "div",
    { class: "field", "data-pointer": pointer },
    element("label", { for: name }, label),
    control,
    element("p", { class: "note", id: about }, note ? element("span", {}, note) : null, element("span", { class: "error" })),
  );
}

function visibility() {
  return element(
    "fieldset",
    { "data-pointer": "/results" },
    element("legend", {}, text("create.visibility")),
    ...VISIBILITIES.map((value) =>
      element(
        "label",
        { class: "check" },
        element("input", { type: "radio", name: "results", value, checked: value === "always" }),
        text(`create.${value}`),
      ),
    ),
    element("p", { class: "note" }, element("span", { class: "error" })),
  );
}

/** The time of a control as the server reads it; null for none. */
function timeOf(control) {
  return control.value === "" ? null : new Date(control.value).toISOString();
}

function optionFields(values) {
  const list = element("ol", { class: "option-fields" });
  const adder = element("button", { type: "button", class: "quiet", onclick: () => add().focus() }, `+ ${text("create.add")}`);
  const error = element("p", { class: "note" }, element("span", { class: "error" }));
  const node = element(
    "fieldset",
    { "data-pointer": "/options" },
    element("legend", {}, text("create.options")),
    list,
    error,
    adder,
  );

  function renumber() {
    [...list.children].forEach((item, index) => {
      item.dataset.pointer = `/options/${index}`;
      item.querySelector("label").textContent = text("create.option", { number: index + 1 });
      const remover = item.querySelector("button");
      remover.setAttribute("aria-label", text("create.remove", { number: index + 1 }));
      remover.disabled = list.children.length <= OPTIONS_MIN;
    });
    adder.hidden = list.children.length >= OPTIONS_MAX;
  }

  function add(value = "") {
    const [name, about] = [newName(), newName()];
    const input = element("input", {
      id: name,
      name: "option",
      value,
      maxlength: "200",
      autocomplete: "off",
      "aria-describedby": about,
    });
    const item = element(
      "li",
      { class: "field" },
      element("label", { for: name, class: "unseen" }),
      element(
        "div",
        { class: "copy" },
        input,
        element("button", { type: "button", class: "quiet icon", onclick: () => remove(item) }, picture("0 0 24 24", CROSS)),
      ),
      element("p", { class: "note", id: about }, element("span", { class: "error" })),
    );
    // Enter goes on to the next option, as in a list, and creates the poll nowhere but at its button.
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) {
        event.preventDefault();
        const next = item.nextElementSibling?.querySelector("input");
        (next ?? (adder.hidden ? input : add())).focus();
      }
    });
    list.append(item);
    renumber();
    return input;
  }

  function remove(item) {
    const index = [...list.children].indexOf(item);
    item.remove();
    renumber();
    announce(text("create.removed", { number: index + 1 }));
    list.children[Math.min(index, list.children.length - 1)].querySelector("input").focus();
  }

  values.forEach((value) => add(value));
  return {
    node,
    /** The texts; empty ones at the end were never filled in. */
    values() {
      const texts = [...list.querySelectorAll("input")].map((input) => input.value);
      const last = texts.findLastIndex((value) => value.trim() !== "");
      return texts.slice(0, Math.max(last + 1, OPTIONS_MIN));
    },
  };
}

function clearErrors(form, summary) {
  summary.hidden = true;
  form.querySelectorAll(".error").forEach((error) => error.replaceChildren());
  form.querySelectorAll("[aria-invalid]").forEach((control) => control.removeAttribute("aria-invalid"));
}

/** Shows each error at its field, and all of them above the form, from where links lead to the fields. */
function showErrors(form, summary, problem) {
  const links = problem.errors.map(({ pointer, detail }) => {
    const place = form.querySelector(`[data-pointer="${CSS.escape(pointer ?? "")}"]`);
    const control = place?.querySelector("input, textarea, select");
    const words = detailText(detail);
    place?.querySelector(":scope > .note .error").replaceChildren(words);
    control?.setAttribute("aria-invalid", "true");
    const label = place?.querySelector("legend, label")?.textContent ?? pointer;
    return element(
      "li",
      {},
      control
        ? element(
            "a",
            {
              href: `#${control.id}`,
              onclick: (event) => {
                event.preventDefault();
                control.focus();
              },
            },
            `${label}: ${words}`,
          )
        : `${label}: ${words}`,
    );
  });
  summary.replaceChildren(
    ...(links.length > 0
      ? [element("p", {}, text("create.wrong", { count: links.length })), element("ul", {}, ...links)]
      : [element("p", {}, problemText(problem))]),
  );
  summary.hidden = false;
  summary.focus();
}
