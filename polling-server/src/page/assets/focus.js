// Where the focus goes when what has it goes away.

/**
 * Before `leaving` is taken out of a list: puts the focus, when it is in there, on the nearest child of `list` that stays, the one below
 * first, and on `heading` when none does. Taken out with the focus in it, a row would leave whoever uses the keyboard at the page's
 * beginning.
 */
export function handOver(list, leaving, heading) {
  const children = [...list.children];
  const place = children.findIndex((child) => child.contains(document.activeElement));
  if (place === -1 || !leaving.includes(children[place])) {
    return;
  }
  const stays = (child) => !leaving.includes(child);
  const next = children.slice(place).find(stays) ?? children.slice(0, place).findLast(stays);
  (next?.querySelector("a") ?? heading).focus({ preventScroll: true });
}
