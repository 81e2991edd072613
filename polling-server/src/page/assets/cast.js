// Casts and retracts votes so that none is lost and none counts twice: a vote gets its name before it is sent, is sent again
// under the same name until there is an answer, and its receipt is asked until the outcome is known.

import { castVote, readReceipt, retractVote } from "./api.js";
import { pauseAfter } from "./backoff.js";
import * as memory from "./memory.js";

/** Attempts to send a vote before the visitor is told and may try again. */
const ATTEMPTS = 6;
/** A vote of which this browser knows nothing but that it stands. */
const STANDING = { choices: [], receipt: null, status: "already" };

/**
 * Casts a vote. `tell(kept, isAgain)` is called whenever what is known of it changes.
 *
 * Throws the problem that refused it; what was known before then stands again.
 */
export async function cast(poll, choices, tell, signal) {
  const kept = memory.vote.read(poll);
  const isUnanswered = kept?.status === "unanswered";
  const isSame = isUnanswered && String(kept.choices) === String(choices);
  const name = isSame ? kept.vote_id : newVoteId();
  const former = isUnanswered ? kept.former : kept;
  const sent = { vote_id: name, choices, receipt: null, status: "unanswered", former };
  memory.vote.write(poll, sent);
  tell(sent, isSame);
  const accepted = await answered(
    poll,
    former,
    () => castVote(poll, { choices, vote_id: name }),
    () => tell(sent, true),
    signal,
  );
  const taken = { vote_id: name, choices, receipt: accepted.receipt, status: accepted.status };
  memory.vote.write(poll, taken);
  tell(taken, false);
  await settle(poll, taken, tell, signal);
}

/** Retracts the vote of this visitor; like `cast`. Where there is none (any more), that is done. */
export async function retract(poll, tell, signal) {
  const { retraction: name = newVoteId(), ...former } = memory.vote.read(poll) ?? STANDING;
  const sent = { ...former, retraction: name };
  memory.vote.write(poll, sent);
  tell(sent, false);
  const accepted = await answered(
    poll,
    former,
    () => retractVote(poll, name),
    () => tell(sent, true),
    signal,
  ).catch((problem) => {
    if (problem.name !== "no-vote") {
      throw problem;
    }
    return { receipt: null, status: "retracted" };
  });
  const taken = { vote_id: name, choices: [], receipt: accepted.receipt, status: accepted.status, isRetraction: true };
  memory.vote.write(poll, taken);
  await settle(poll, taken, tell, signal);
}

/** Asks a receipt until its outcome is known. */
export async function settle(poll, kept, tell, signal) {
  let { status } = kept;
  for (let failures = 0; status === "pending" && !signal.aborted;) {
    try {
      ({ status } = await readReceipt(kept.receipt));
      failures = 0;
    } catch (problem) {
      if (!problem.isPassing) {
        throw problem;
      }
      failures += 1;
      await pause(Math.max(pauseAfter(failures), problem.retryAfter), signal);
    }
  }
  // A retraction is invalid when there was no vote to retract, so there is none either way.
  const isGone = kept.isRetraction && (status === "counted" || status === "invalid");
  const known = { ...kept, status: isGone ? "retracted" : status };
  memory.vote.write(poll, known);
  if (!signal.aborted) {
    tell(known, false);
  }
}

/** The answer to a vote. A refusal is certain, so what stood before it stands again; without an answer nothing is certain. */
async function answered(poll, former, send, onAgain, signal) {
  try {
    return await persistent(send, onAgain, signal);
  } catch (problem) {
    if (problem.name === "already-voted") {
      memory.vote.write(poll, former ?? STANDING);
    } else if (!problem.isPassing) {
      memory.vote.write(poll, former ?? null);
    }
    throw problem;
  }
}

async function persistent(send, onAgain, signal) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await send();
    } catch (problem) {
      if (!problem.isPassing || attempt === ATTEMPTS || signal.aborted) {
        throw problem;
      }
      onAgain();
      await pause(Math.max(pauseAfter(attempt), problem.retryAfter), signal);
    }
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** A UUID by chance. `crypto.randomUUID` is there only on secure pages, and this page also has to work in a local network. */
export function newVoteId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
