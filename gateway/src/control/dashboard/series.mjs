// What charts show: the last points, never more of them however long the page is open.

/** Ten minutes at one point a second. */
export const POINTS = 600;

/** A pause longer than this is shown as one. */
const GAP = 5;

export class Series {
  constructor(limit = POINTS) {
    this.limit = limit;
    this.points = [];
  }

  push(point) {
    const last = this.points.at(-1);
    if (last && point.at <= last.at) return;
    if (last && point.at - last.at > GAP) this.points.push({ at: last.at + 1, gap: true });
    this.points.push(point);
    while (this.points.length > this.limit) this.points.shift();
  }

  last() {
    return this.points.findLast((point) => !point.gap);
  }

  times() {
    return this.points.map((point) => point.at);
  }

  /** One value per point, null where there is none. */
  values(of) {
    return this.points.map((point) => (point.gap ? null : of(point) ?? null));
  }
}
