// Brings the children of a list into an order without touching more of them than it must.

/**
 * Has `list` show the children `wanted`, in this order. Whatever is taken out of a page loses the focus, the text that was marked in it
 * and its transitions, also when it is put back at once: so the child that somebody is in stays where it is, and as many others as can.
 */
export function arrange(list, wanted) {
  const former = [...list.children];
  former.filter((child) => !wanted.includes(child)).forEach((child) => child.remove());
  const still = staying(
    former.map((child) => wanted.indexOf(child)).filter((place) => place !== -1),
    wanted.findIndex(isInUse),
  );
  let next = null;
  for (let place = wanted.length - 1; place >= 0; place -= 1) {
    if (!still.has(place)) {
      list.insertBefore(wanted[place], next);
    }
    next = wanted[place];
  }
}

/** Whether somebody has put the focus on something in it, or marked a text that begins there. */
function isInUse(child) {
  const marked = getSelection();
  return child.contains(document.activeElement) || (!marked.isCollapsed && child.contains(marked.anchorNode));
}

/**
 * Which of `places`, in the order in which they are found, may stay while the others move around them: the longest run of growing ones,
 * and `held` among them where it is found.
 */
export function staying(places, held) {
  const runs = [];
  const best = (found) => found.reduce((one, other) => (other.weight > one.weight ? other : one), { weight: 0, places: [] });
  for (const place of places) {
    const before = best(runs.filter((run) => run.places.at(-1) < place));
    runs.push({ weight: before.weight + (place === held ? places.length : 1), places: [...before.places, place] });
  }
  return new Set(best(runs).places);
}
