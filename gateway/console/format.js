/** How numbers, times and names are written. Text only; what stands in the page is made of it by the parts. */

import { clock } from "./api.js";

const timeOfDay = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const dayAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
const grouped = new Intl.NumberFormat(undefined, { maximumFractionDigits: 3 });
const DAY_SECONDS = 86400;

/** 12,345 or 0.125; nothing for what is not there. */
export function number(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "number" ? grouped.format(value) : String(value.rawJSON ?? value);
}

/** The time of day, in the reader's zone; with the day where it is not today's. */
export function time(seconds) {
  if (!seconds) return "–";
  const far = Math.abs(clock.now() - seconds) > DAY_SECONDS / 2;
  return (far ? dayAndTime : timeOfDay).format(seconds * 1000);
}

export function iso(seconds) {
  return seconds ? new Date(seconds * 1000).toISOString() : "";
}

/** A length of time in its two largest units: 320 ms, 4.2 s, 3 m 10 s, 2 h 5 m, 4 d 1 h. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  const whole = Math.round(seconds);
  if (seconds < 0.9995) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  if (whole < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${whole % 60} s`;
  if (whole < DAY_SECONDS) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} m`;
  return `${Math.floor(whole / DAY_SECONDS)} d ${Math.floor((whole % DAY_SECONDS) / 3600)} h`;
}

/** The same in whole seconds: what ticks needs no milliseconds. */
export function ticking(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return whole < 60 ? `${whole} s` : duration(whole);
}

/** How long ago that was. */
export function age(seconds) {
  return seconds ? ticking(clock.now() - seconds) : "–";
}

export function percent(share) {
  return share === null || share === undefined ? "–" : `${Math.round(share * 100)} %`;
}

/** The end of a minted id: ids begin with the time, so that neighbors begin alike. */
export function short(id) {
  return /^[0-9a-f-]{32,}$/.test(id ?? "") ? id.slice(-8) : (id ?? "–");
}

/** admin:01a1fc58-807f-… → admin 64decd6d */
export function principal(name) {
  const [role, id] = String(name ?? "").split(":");
  return id ? `${role} ${short(id)}` : role;
}

/** dead_lettered → dead lettered */
export function words(name) {
  return String(name ?? "").replaceAll("_", " ");
}

export function json(value) {
  return JSON.stringify(value, null, 2);
}
