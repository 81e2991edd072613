// What this browser remembers: settings, the votes that were cast here, and the tokens of the polls that were created here.
// Nothing of it is sent anywhere, but for a token to the server that made it.

const PREFIX = "polls.";

/** What the browser does not keep (forbidden in a frame of another site, or full) is remembered for as long as the page is open. */
const unkept = new Map();

function read(key) {
  if (unkept.has(key)) {
    return unkept.get(key);
  }
  try {
    return JSON.parse(localStorage.getItem(PREFIX + key));
  } catch {
    // Forbidden, or not ours.
    return null;
  }
}

function write(key, value) {
  unkept.delete(key);
  try {
    if (value === null) {
      localStorage.removeItem(PREFIX + key);
    } else {
      localStorage.setItem(PREFIX + key, JSON.stringify(value));
    }
  } catch {
    unkept.set(key, value);
  }
}

export const theme = { read: () => read("theme"), write: (value) => write("theme", value) };
export const language = { read: () => read("language"), write: (value) => write("language", value) };

/** The token of the owner of a poll, or null. */
export const owner = {
  read: (poll) => read(`owner.${poll}`),
  write: (poll, token) => write(`owner.${poll}`, token),
  /** Whether the token is still here when the page is opened again. */
  isKept: (poll) => !unkept.has(`owner.${poll}`),
};

/**
 * The vote that was cast here: `{vote_id, choices, receipt, status}`. It is kept from before it is sent, when it has no receipt
 * yet: sent again under the same name, it never counts twice. `retraction` is the name of a retraction of it that has no answer yet.
 */
export const vote = {
  read: (poll) => read(`vote.${poll}`),
  write: (poll, value) => write(`vote.${poll}`, value),
};
