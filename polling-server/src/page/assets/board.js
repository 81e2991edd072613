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
 * How an entry has moved: `{kind: "up" | "down" | "new" | "same", places}`. The server says where it was before (`previous_rank`,
 * null for nowhere); one that does not is read against the `former` places, which are null at the first look.
 */
export function movementOf(entry, former) {
  const known = former === null ? entry.rank : (former.get(keyOf(entry)) ?? null);
  const before = entry.previous_rank === undefined ? known : entry.previous_rank;
  if (before === null) {
    return { kind: "new", places: 0 };
  }
  const places = before - entry.rank;
  return { kind: places > 0 ? "up" : places < 0 ? "down" : "same", places: Math.abs(places) };
}
