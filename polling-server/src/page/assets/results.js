// How a poll changes with the frames of the live protocol. Pure.

/** Whether (epoch, version) of a frame or of results is greater than that of `results`. */
export function isNewer(frame, results) {
  return frame.epoch > results.epoch || (frame.epoch === results.epoch && frame.version > results.version);
}

/** What a client has seen, for `?after=`. */
export function positionOf(poll) {
  return `${poll.results.epoch}.${poll.results.version}`;
}

/** Whether this viewer sees the votes. */
export function areShown(poll) {
  return poll.results.options.every((option) => option.votes !== undefined);
}

function shareOf(votes, voters) {
  return voters === 0 ? 0 : votes / voters;
}

/**
 * The poll after a frame; the same object when the frame has no news.
 *
 * A frame without votes leaves those that are shown as they are: the viewer sees more than the socket knows (an owner cannot name
 * a token there), so the poll has to be asked for again, which `isOutdated` says.
 */
export function withFrame(poll, frame) {
  if (frame.type !== "results" || frame.poll_id !== poll.id || !isNewer(frame, poll.results)) {
    return poll;
  }
  const votes = frame.options && new Map(frame.options.map((option) => [option.id, option.votes]));
  const options = poll.results.options.map((option) => {
    const known = votes ? votes.get(option.id) : option.votes;
    return known === undefined ? option : { ...option, votes: known, share: shareOf(known, frame.voters) };
  });
  return {
    ...poll,
    state: frame.state,
    isOutdated: !votes && areShown(poll),
    results: { epoch: frame.epoch, version: frame.version, voters: frame.voters, options },
  };
}

/** The poll after it was asked for again: never an older one, but the same version may show more than before, or less. */
export function withAnswer(poll, answer) {
  return isNewer(poll.results, answer.results) ? poll : answer;
}

/** The options with the most votes: several when they are level, none without votes. */
export function leaders(poll) {
  const most = Math.max(0, ...poll.results.options.map((option) => option.votes ?? 0));
  return most === 0 ? [] : poll.results.options.filter((option) => option.votes === most);
}
