// Tells people who do not see the page what has changed on it, about once a second at most: a screen reader queues what it is
// given.

import { throttle } from "./throttle.js";

const INTERVAL = 1000;

/** Says a text politely. */
export const announce = throttle(INTERVAL, (text) => {
  document.getElementById("announcements").textContent = text;
});
