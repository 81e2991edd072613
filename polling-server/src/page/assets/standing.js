// What a visitor may do in a poll, by what this browser remembers. Pure.

/** Outcomes after which there is no vote of this visitor, so another one may be cast. */
const WITHOUT_VOTE = ["late", "invalid", "retracted"];

/** Whether a vote of this visitor stands, or may. */
export function hasVoted(kept) {
  return kept !== null && kept.status !== "unanswered" && !WITHOUT_VOTE.includes(kept.status);
}

/** Whether a vote or its retraction was sent and not answered, so that it may have arrived or not. */
export function isUnanswered(kept) {
  return kept !== null && (kept.status === "unanswered" || kept.retraction !== undefined);
}

/** What the ballot is for: `scheduled`, `closed`, `vote`, `change` (a vote is being changed) or `voted`. */
export function modeOf(poll, kept, isChanging) {
  if (poll.state !== "open") {
    return poll.state;
  }
  if (!hasVoted(kept)) {
    return "vote";
  }
  return poll.allow_change && isChanging ? "change" : "voted";
}

/** The ids that stand for this visitor, as far as this browser knows, or may stand. */
export function choicesOf(kept) {
  if (kept?.status === "unanswered") {
    return kept.choices;
  }
  const isKnown = hasVoted(kept) && kept.status !== "duplicate" && kept.status !== "superseded";
  return isKnown ? kept.choices : [];
}
