// How places on the leaderboard change. Pure.

/** What tells an entry from the others. */
export function keyOf(entry) {
  return `${entry.poll_id}/${entry.option_id}`;
}

/** The place of each entry. */
export function ranksOf(entries) {
  return new Map(entries.map((entry) => [keyOf(entry), entry.rank]));
}

/**
 * How an entry has moved since it was drawn here: `{kind: "up" | "down" | "new" | "same", places}`. Of one that was not among the
 * `former` places (null at the first look) the server says where it was before: `previous_rank`, null for nowhere. It is asked
 * second because a viewer does not get every frame, so the one before may not have been seen here.
 */
export function movementOf(entry, former) {
  const before = former === null ? entry.rank : (former.get(keyOf(entry)) ?? entry.previous_rank ?? null);
  if (before === null) {
    return { kind: "new", places: 0 };
  }
  const places = before - entry.rank;
  return { kind: places > 0 ? "up" : places < 0 ? "down" : "same", places: Math.abs(places) };
}
