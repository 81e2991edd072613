// Addresses of polls that can be typed: the 128 bits of the id in Crockford's base 32, which has no letter that looks like a
// digit.

const DIGITS = "0123456789abcdefghjkmnpqrstvwxyz";
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** 26 digits of five bits hold 130 bits. */
const LENGTH = 26;

/** The short name of a poll. */
export function codeOf(id) {
  let rest = BigInt(`0x${id.replaceAll("-", "")}`);
  let code = "";
  for (let place = 0; place < LENGTH; place += 1) {
    code = DIGITS[Number(rest % 32n)] + code;
    rest /= 32n;
  }
  return code;
}

/** A short name in groups, as it is read and typed. */
export function grouped(code) {
  return code.replace(/^(.{5})(.{5})(.{5})(.{5})(.*)$/, "$1-$2-$3-$4-$5");
}

/** The id that a short name or an id names, however it was typed; null for what names none. */
export function idOf(text) {
  const typed = text.trim().toLowerCase();
  if (UUID.test(typed)) {
    return typed;
  }
  const code = typed.replaceAll("-", "").replaceAll("o", "0").replaceAll(/[il]/g, "1");
  const digits = [...code].map((digit) => DIGITS.indexOf(digit));
  if (digits.length !== LENGTH || digits.includes(-1) || digits[0] > 7) {
    return null;
  }
  const number = digits.reduce((sum, digit) => sum * 32n + BigInt(digit), 0n);
  const hex = number.toString(16).padStart(32, "0");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** The path of a poll's page, or of another view of it. */
export function pollPath(id, view = "") {
  return `/p/${codeOf(id)}${view && `/${view}`}`;
}
