// Numbers and times as people read them; columns of them line up.

const DASH = "–";

/** Three significant digits, thousands as k, M, G. */
export function amount(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return DASH;
  for (const [factor, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= factor * 10 || (factor > 1e3 && Math.abs(value) >= factor)) return `${digits(value / factor)}${unit}`;
  }
  return digits(value);
}

function digits(value) {
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

/** Whole numbers with thin gaps. */
export function whole(value) {
  return value === null || value === undefined ? DASH : Math.round(value).toLocaleString("en-GB").replaceAll(",", "\u2009");
}

/** Bytes in powers of 1024. */
export function bytes(value) {
  if (value === null || value === undefined) return DASH;
  for (const [factor, unit] of [[1 << 30, "GiB"], [1 << 20, "MiB"], [1 << 10, "KiB"]]) {
    if (value >= factor) return `${digits(value / factor)}\u2009${unit}`;
  }
  return `${value}\u2009B`;
}

/** Seconds, from microseconds up to days. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return DASH;
  if (seconds === 0) return "0";
  if (seconds < 0.001) return `${digits(seconds * 1e6)}\u2009µs`;
  if (seconds < 1) return `${digits(seconds * 1e3)}\u2009ms`;
  if (seconds < 120) return `${digits(seconds)}\u2009s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}\u2009min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)}\u2009h`;
  return `${Math.floor(seconds / 86400)}\u2009d`;
}

/** Milliseconds. */
export function milliseconds(value) {
  return value === null || value === undefined ? DASH : duration(value / 1000);
}

/** A moment, of today without its date. */
export function moment(seconds) {
  if (!seconds) return DASH;
  const time = new Date(seconds * 1000);
  const today = time.toDateString() === new Date().toDateString();
  const clock = time.toLocaleTimeString("en-GB");
  return today ? clock : `${time.toISOString().slice(0, 10)} ${clock}`;
}

/** A share of one. */
export function percent(value) {
  return value === null || value === undefined || Number.isNaN(value) ? DASH : `${digits(Math.round(value * 1000) / 10)}\u2009%`;
}
