// Asks the server. Every failure is a `Problem`, so whoever calls has one kind of error to tell about.

/** Seconds that the server may wait for the outcome of a vote before it answers. */
const OUTCOME_WAIT = 10;
/** Milliseconds in which what is asked again and again has to be answered. Where nobody answers, a browser itself waits for minutes. */
const READ_WITHIN = 10_000;
/** The same for a vote, and for what became of it: no harm is done by sending it again. */
const VOTE_WITHIN = 1000 * OUTCOME_WAIT + READ_WITHIN;

/** A refusal of the server (RFC 9457), or, without a status, a server that was not reached. */
export class Problem extends Error {
  constructor(document) {
    super(document.detail ?? document.title ?? "");
    /** The last part of `type`, such as `poll-closed`, or `unreachable`. */
    this.name = document.type?.split("/").pop() ?? "";
    this.status = document.status ?? 0;
    this.title = document.title ?? "";
    /** `{pointer or parameter, detail}` of everything that is wrong. */
    this.errors = document.errors ?? [];
    /** Milliseconds that the server asks to wait before the next attempt. */
    this.retryAfter = document.retryAfter ?? 0;
  }

  /** Whether the same request may succeed later. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

async function send(path, { token, body, prefer, within, ...options } = {}) {
  const headers = new Headers({ Accept: "application/json" });
  if (token) {
    headers.set("Authorization", `Bearer ${token}`);
  }
  if (body) {
    headers.set("Content-Type", "application/json");
    options.body = JSON.stringify(body);
  }
  if (prefer) {
    headers.set("Prefer", prefer);
  }
  if (options.accept) {
    headers.set("Accept", options.accept);
  }
  if (within) {
    options.signal = AbortSignal.timeout(within);
  }
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Problem({ type: "unreachable" });
  }
  if (!answer.ok) {
    const document = await answer.json().catch(() => ({}));
    const retryAfter = 1000 * (Number(answer.headers.get("Retry-After")) || 0);
    throw new Problem({ ...document, status: answer.status, retryAfter });
  }
  return answer;
}

async function json(path, options) {
  const answer = await send(path, options);
  try {
    return await answer.json();
  } catch {
    // The connection broke within the answer.
    throw new Problem({ type: "unreachable" });
  }
}

function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
}

export const createPoll = (draft, key) => json("/polls", { method: "POST", body: draft, token: key });
export const listPolls = (parameters) => json(`/polls${query(parameters)}`, { within: READ_WITHIN });
export const readPoll = (id, token) => json(`/polls/${id}`, { token, within: READ_WITHIN });
export const closePoll = (id, token) => json(`/polls/${id}/close`, { method: "POST", token });
export const archivePoll = (id, token) => send(`/polls/${id}`, { method: "DELETE", token });
export const exportPoll = async (id, token) => (await send(`/polls/${id}/export.csv`, { token, accept: "text/csv" })).blob();
export const readHistory = (id, token) => json(`/polls/${id}/history`, { token });
export const readLeaderboard = (limit) => json(`/leaderboard${query({ limit })}`, { within: READ_WITHIN });
export const castVote = (id, vote) => json(`/polls/${id}/vote`, { method: "POST", body: vote, within: VOTE_WITHIN });
export const retractVote = (id, name) =>
  json(`/polls/${id}/vote${query({ vote_id: name })}`, { method: "DELETE", within: VOTE_WITHIN });
export const readReceipt = (receipt) => json(`/receipts/${receipt}`, { prefer: `wait=${OUTCOME_WAIT}`, within: VOTE_WITHIN });
