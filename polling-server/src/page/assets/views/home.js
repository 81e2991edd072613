// The polls that there are, with results that move.

import { announce } from "../announce.js";
import { listPolls, readLeaderboard } from "../api.js";
import { element, picture } from "../dom.js";
import { handOver } from "../focus.js";
import { moment, percent } from "../format.js";
import { pollPath } from "../link.js";
import { follow } from "../live.js";
import { phaseMark } from "../phase.js";
import { ranking } from "../ranking.js";
import { areShown, isNewer, leaders, withAnswer, withFrame } from "../results.js";
import { stateChip, timeNote } from "../summary.js";
import { problemText, text } from "../texts.js";

const PAGE = 20;
/** Places of the leaderboard beside the title. */
const PLACES = 4;
/** Polls that one socket may watch. */
const WATCHED_MAX = 100;
/** The status of what is refused for good. */
const REFUSED = 422;
/** Milliseconds after the last letter before a search begins. */
const TYPING = 250;
const STATES = ["all", "open", "scheduled", "closed"];
const SORTS = ["newest", "votes", "oldest"];
const ARROW = "M5 12h13M13 6l6 6-6 6";

export async function home(_, signal, kept) {
  const list = element("ul", { class: "polls" });
  const more = element("button", { type: "button", hidden: true }, text("home.more"));
  const empty = element("p", { class: "soft", hidden: true });
  const phase = phaseMark();
  const title = element("h2", { id: "polls-title", tabindex: "-1" }, text("home.polls"));
  const boardTitle = element("h2", { id: "board-title", tabindex: "-1" }, text("home.board"));
  const board = ranking(PLACES, boardTitle);
  const rows = new Map();
  kept.query ??= { state: "all", q: "", sort: "newest" };
  const { query } = kept;
  let cursor = null;
  let newest = 0;
  let loaded = null;

  const asked = () => ({ ...query, q: query.q.trim(), state: query.state === "all" ? null : query.state });
  const isFiltered = () => asked().state !== null || asked().q !== "";
  const parameters = () => ({ ...asked(), limit: PAGE, cursor });
  const watched = () => [...rows.keys()].slice(0, WATCHED_MAX);

  async function load() {
    newest += 1;
    const own = newest;
    loaded = JSON.stringify(asked());
    const page = await listPolls(parameters());
    // Whoever types on has asked for something else by now.
    return own === newest && !signal.aborted ? page : null;
  }

  /** Adds a page; rows of `former` are used again, because a frame may have told them more than the page knows. */
  function add(page, former = rows) {
    const added = page.polls
      .filter((poll) => !rows.has(poll.id))
      .map((poll) => {
        const made = former.get(poll.id) ?? pollRow(poll);
        made.answer(poll);
        rows.set(poll.id, made);
        return made.node;
      });
    list.append(...added);
    cursor = page.next_cursor ?? null;
    more.hidden = cursor === null;
    empty.hidden = rows.size > 0;
    empty.textContent = text(isFiltered() ? "home.none" : "home.empty");
    return added;
  }

  function remove(id) {
    const node = rows.get(id)?.node;
    if (node) {
      handOver(list, [node], title);
      node.remove();
      rows.delete(id);
    }
  }

  const live = () =>
    follow(() => "/live", {
      async ask() {
        const [page, { entries }] = await Promise.all([listPolls({ ...parameters(), cursor: null }), readLeaderboard(PLACES)]);
        const news = page.polls.map((poll) => rows.get(poll.id)?.answer(poll));
        return board.update(entries) || news.includes(true);
      },
      onPhase: phase.set,
      greeting: () => ({ subscribe: watched(), leaderboard: true }),
      onFrame(frame) {
        if (frame.type === "leaderboard") {
          board.update(frame.entries);
        } else if (frame.type === "error") {
          if (frame.status === REFUSED) {
            // The socket has shown as many polls as one may: a new one shows as many again.
            socket.again();
          }
          if (!frame.problem?.endsWith("/poll-not-found")) {
            // A store in trouble takes no poll away: it is asked for again.
            return;
          }
          // Archived meanwhile.
          remove(frame.poll_id);
        } else {
          rows.get(frame.poll_id)?.take(frame);
        }
      },
    });

  async function begin() {
    cursor = null;
    try {
      const page = await load();
      if (page) {
        const former = new Map(rows);
        socket.say({ unsubscribe: watched() });
        rows.clear();
        list.replaceChildren();
        add(page, former);
        socket.say({ subscribe: watched() });
        announce(text("home.found", { count: rows.size }), "polls");
      }
    } catch (problem) {
      empty.hidden = false;
      empty.textContent = problemText(problem);
      announce(empty.textContent, "polls");
    }
  }

  more.addEventListener("click", async () => {
    try {
      const page = await load();
      if (page) {
        const added = add(page);
        socket.say({ subscribe: watched() });
        added[0]?.querySelector("a").focus();
      }
    } catch {
      // The cursor has expired with a restart of the server.
      await begin();
    }
  });

  const [page, { entries }] = await Promise.all([load(), readLeaderboard(PLACES)]);
  if (signal.aborted) {
    return null;
  }
  add(page);
  board.update(entries);
  const socket = live();
  signal.addEventListener("abort", socket.end);
  if (loaded !== JSON.stringify(asked())) {
    // In another language it is drawn anew, and whoever searches types on in the old one meanwhile.
    begin();
  }

  const content = element(
    "div",
    { class: "home" },
    element(
      "section",
      { class: "hero" },
      element(
        "div",
        { class: "hero-words" },
        element("h1", { tabindex: "-1" }, text("home.title")),
        element("p", { class: "lead" }, text("home.lead")),
        element("a", { class: "button primary large", href: "/new" }, text("home.create"), picture("0 0 24 24", ARROW)),
      ),
      element("section", { class: "hero-board", "aria-labelledby": "board-title" }, boardTitle, board.node),
    ),
    element(
      "section",
      { class: "polls-section", "aria-labelledby": "polls-title" },
      element("div", { class: "section-head" }, title, phase.node),
      filters(query, begin),
      list,
      empty,
      more,
    ),
  );
  return { title: text("site.name"), content };
}

function filters(query, begin) {
  let timer = null;
  const search = element("input", {
    type: "search",
    placeholder: text("home.search"),
    "aria-label": text("home.search"),
    name: "q",
    value: query.q,
    autocomplete: "off",
    oninput: () => {
      query.q = search.value;
      clearTimeout(timer);
      timer = setTimeout(begin, TYPING);
    },
  });
  const select = (name, label, words) => {
    const node = element(
      "select",
      {
        name,
        "aria-label": label,
        onchange: () => {
          query[name] = node.value;
          begin();
        },
      },
      ...words.map(([value, word]) => element("option", { value, selected: value === query[name] }, word)),
    );
    return node;
  };
  return element(
    "form",
    { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
    search,
    select(
      "state",
      text("home.state"),
      STATES.map((state) => [state, text(`state.${state}`)]),
    ),
    select(
      "sort",
      text("home.sort"),
      SORTS.map((sort) => [sort, text(`sort.${sort}`)]),
    ),
  );
}

function pollRow(first) {
  let poll = first;
  const meta = element("p", { class: "meta" });
  const bar = element("div", { class: "strip", "aria-hidden": "true" });
  const result = element("p", { class: "result" });
  const node = element(
    "li",
    { class: "poll-row" },
    element("div", {}, element("h3", {}, element("a", { href: pollPath(poll.id) }, poll.question)), meta),
    element("div", { class: "standing" }, result, bar),
  );
  const parts = poll.results.options.map(() => element("span"));
  bar.append(...parts);

  function draw() {
    const when = timeNote(poll) || element("time", { datetime: poll.created_at }, moment(poll.created_at));
    meta.replaceChildren(stateChip(poll), element("span", {}, text("count.voters", { count: poll.results.voters })), when);
    const first = leaders(poll);
    const total = poll.results.options.reduce((sum, option) => sum + (option.votes ?? 0), 0);
    poll.results.options.forEach((option, index) => {
      // A part of nothing would leave a gap at the end.
      parts[index].hidden = !option.votes;
      parts[index].style.setProperty("--part", total === 0 ? 0 : (option.votes ?? 0) / total);
      parts[index].classList.toggle("is-first", first.includes(option));
    });
    result.replaceChildren(...standing(poll, first));
  }

  function change(next) {
    if (next !== poll) {
      poll = next;
      draw();
    }
  }

  draw();
  return {
    node,
    take(frame) {
      change(withFrame(poll, frame));
    },
    /** Whether there is news in it. */
    answer(answer) {
      const isNews = isNewer(answer.results, poll.results);
      change(withAnswer(poll, answer));
      return isNews;
    },
  };
}

function standing(poll, first) {
  if (!areShown(poll)) {
    return [text("results.hidden")];
  }
  if (first.length === 0) {
    return [text("results.none")];
  }
  return first.length === 1
    ? [element("span", { class: "clip" }, first[0].text), " ", element("strong", {}, percent(first[0].share))]
    : [text("home.level")];
}
