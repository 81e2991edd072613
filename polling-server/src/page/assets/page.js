// The page: lists polls, votes, creates, and shows results that move.
//
// Texts of polls are written by strangers, so they go into the page as text only, never as HTML.

const byId = (id) => document.getElementById(id);

/// The poll on show, or null, and the socket that moves its results.
let shown = null;
let socket = null;
/// How long to wait before the next attempt to connect, in milliseconds.
let pause = 500;
let nextCursor = null;

function say(text) {
  byId("message").textContent = text;
}

/// Asks the server; a problem document becomes an error with its words.
async function ask(path, options = {}) {
  const answer = await fetch(path, options);
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({ title: `HTTP status ${answer.status}` }));
    const details = (problem.errors ?? []).map((error) => `${error.pointer ?? error.parameter} ${error.detail}`);
    const words = [problem.title, problem.detail, ...details].filter(Boolean).join(". ");
    throw Object.assign(new Error(words), { status: answer.status });
  }
  return answer.json();
}

function send(path, body) {
  return ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

async function listPolls() {
  const page = await ask(`/polls?limit=20${nextCursor ? `&cursor=${encodeURIComponent(nextCursor)}` : ""}`);
  for (const poll of page.polls) {
    const link = element("a", { href: `#${poll.id}` }, poll.question);
    byId("polls").append(element("li", {}, link, ` (${poll.state}, ${poll.results.voters} voters)`));
  }
  nextCursor = page.next_cursor ?? null;
  byId("more").hidden = nextCursor === null;
}

/// Draws the poll; its options keep their places, so that a choice is not lost when results move.
function draw(poll) {
  byId("poll").hidden = false;
  byId("question").textContent = poll.question;
  byId("state").textContent = `${poll.state}, ${poll.results.voters} voters`;
  byId("ballot").querySelector("button").disabled = poll.state !== "open";
  const list = byId("options");
  if (list.dataset.poll !== poll.id) {
    list.dataset.poll = poll.id;
    list.replaceChildren(...poll.results.options.map((option) => {
      const type = poll.max_choices > 1 ? "checkbox" : "radio";
      const input = element("input", { type, name: "choice", value: option.id });
      const label = element("label", {}, input, option.text, element("output"));
      return element("li", {}, label, element("meter", { min: 0, max: 1 }));
    }));
  }
  poll.results.options.forEach((option, index) => {
    const item = list.children[index];
    const hidden = option.votes === undefined;
    const share = poll.results.voters === 0 || hidden ? 0 : option.votes / poll.results.voters;
    item.querySelector("meter").value = share;
    item.querySelector("output").textContent = hidden ? "hidden" : `${option.votes} (${Math.round(share * 100)} %)`;
  });
}

function isNewer(frame) {
  const { epoch, version } = shown.results;
  return frame.epoch > epoch || (frame.epoch === epoch && frame.version > version);
}

/// Takes in a frame of the live protocol.
function absorb(frame) {
  if (frame.type === "error") {
    say(frame.title ?? "The poll is not shown any more");
    return;
  }
  if (frame.type !== "results" || frame.poll_id !== shown?.id || !isNewer(frame)) {
    return;
  }
  const votes = new Map((frame.options ?? []).map((option) => [option.id, option.votes]));
  shown.state = frame.state;
  shown.results.epoch = frame.epoch;
  shown.results.version = frame.version;
  shown.results.voters = frame.voters;
  for (const option of shown.results.options) {
    option.votes = votes.get(option.id);
  }
  draw(shown);
}

function watch(id) {
  socket?.close();
  const address = new URL(`/polls/${id}/live`, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const opened = new WebSocket(address);
  socket = opened;
  opened.onmessage = (event) => {
    pause = 500;
    absorb(JSON.parse(event.data));
  };
  opened.onclose = () => {
    // Whoever closes the socket to watch another poll has put a new one in its place.
    if (socket === opened && shown?.id === id) {
      setTimeout(() => socket === opened && shown?.id === id && watch(id), pause * (0.5 + Math.random()));
      pause = Math.min(pause * 2, 30000);
    }
  };
}

async function show(id) {
  shown = null;
  socket?.close();
  socket = null;
  byId("poll").hidden = true;
  if (id === "") {
    return;
  }
  const poll = await ask(`/polls/${encodeURIComponent(id)}`);
  shown = poll;
  draw(poll);
  watch(poll.id);
}

/// Votes. When the server cannot say whether the vote was recorded, the same vote is sent again under the same name, which
/// never counts twice.
async function vote(choices) {
  const body = { choices, vote_id: crypto.randomUUID?.() ?? null };
  let accepted = null;
  for (let attempt = 1; accepted === null; attempt += 1) {
    try {
      accepted = await send(`/polls/${shown.id}/vote`, body);
    } catch (error) {
      if (error.status !== 503 || body.vote_id === null || attempt === 3) {
        throw error;
      }
      await new Promise((done) => setTimeout(done, 1000 * attempt));
    }
  }
  say(accepted.status === "counted" ? "Your vote is counted." : "Your vote is recorded.");
  if (shown.results_visibility === "after_vote") {
    await show(shown.id);
  }
}

function guarded(action) {
  return (event) => {
    event?.preventDefault();
    say("");
    Promise.resolve(action(event)).catch((error) => say(error.message));
  };
}

byId("ballot").addEventListener("submit", guarded(async (event) => {
  const choices = new FormData(event.target).getAll("choice").map(Number);
  await vote(choices);
}));

byId("creation").addEventListener("submit", guarded(async (event) => {
  const form = new FormData(event.target);
  const options = form.get("options").split("\n").map((text) => text.trim()).filter(Boolean);
  const poll = await send("/polls", { question: form.get("question"), options });
  event.target.reset();
  nextCursor = null;
  byId("polls").replaceChildren();
  await listPolls();
  location.hash = poll.id;
  byId("owner").textContent = `The owner token of “${poll.question}”, shown only now: ${poll.owner_token}`;
}));

byId("more").addEventListener("click", guarded(listPolls));
addEventListener("hashchange", guarded(() => show(location.hash.slice(1))));

guarded(listPolls)();
guarded(() => show(location.hash.slice(1)))();
