// Tells people who do not see the page what has changed on it, about once a second at most: a screen reader queues what it is
// given.

import { speech } from "./speech.js";

const INTERVAL = 1000;

/** Says a text politely, and how things stand, which gives way to all else (see `speech`). */
export const { say: announce, sayStanding: announceStanding } = speech(INTERVAL, (text) => {
  document.getElementById("announcements").textContent = text;
});
