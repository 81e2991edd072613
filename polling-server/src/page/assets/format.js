// Numbers and times in the way of the visitor's language.

import { locale } from "./texts.js";

const SECOND = 1000;
/** From the largest: how many milliseconds a unit has. */
const UNITS = [
  ["year", 365 * 86_400 * SECOND],
  ["month", 30 * 86_400 * SECOND],
  ["day", 86_400 * SECOND],
  ["hour", 3600 * SECOND],
  ["minute", 60 * SECOND],
  ["second", SECOND],
];

export function number(value, tag = locale()) {
  return new Intl.NumberFormat(tag).format(value);
}

/** A share as a percentage: with one decimal only where it is needed to tell it from nothing or from all. */
export function percent(share, tag = locale()) {
  const isCoarse = share === 0 || share >= 1 || (share >= 0.01 && share <= 0.99);
  return new Intl.NumberFormat(tag, { style: "percent", maximumFractionDigits: isCoarse ? 0 : 1 }).format(share);
}

/** A moment, such as "24 Nov 2026, 14:05". */
export function moment(time, tag = locale()) {
  return new Intl.DateTimeFormat(tag, { dateStyle: "medium", timeStyle: "short" }).format(new Date(time));
}

/** The distance of a moment from `now`, such as "in 2 hours". */
export function distance(time, now = Date.now(), tag = locale()) {
  const rest = new Date(time).getTime() - now;
  const [unit, length] = UNITS.find(([, length]) => Math.abs(rest) >= length) ?? UNITS.at(-1);
  return new Intl.RelativeTimeFormat(tag, { numeric: "auto" }).format(Math.round(rest / length), unit);
}

/** Texts in a row, such as "a, b and c". */
export function list(texts, tag = locale()) {
  return new Intl.ListFormat(tag).format(texts);
}
