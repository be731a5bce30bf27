/** How a solve's value grew over its counted work: from its reports while it runs, then from the course that it keeps. */

import { html } from "../vendor/htm-preact.js";
import { duration, number } from "../format.js";

const WIDTH = 640;
const HEIGHT = 120;
const EDGE = 4;

export function Course({ solve, records }) {
  const points = solve.trace ?? reported(records ?? []);
  if (points.length < 2) return null;
  const [first, last] = [points[0], points.at(-1)];
  const told = `from ${number(first.value)} to ${number(last.value)} in ${number(last.work)} steps, ${duration(last.seconds)}`;
  return html`
    <h3>Value over work</h3>
    <figure class="course" id="course">
      <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${told}>
        <path d=${steps(points)} />
      </svg>
      <figcaption>${told}</figcaption>
    </figure>
  `;
}

/** What was told of the last start. Islands count their own work: what a later one found after less stands where the one before did. */
function reported(records) {
  let points = [];
  for (const { kind, data } of records) {
    if (kind === "solve_job.SolveStarted") points = [];
    if (kind === "solve_job.SolveProgressed") {
      const { value, seconds } = data;
      points.push({ value, seconds, work: Math.max(data.work, points.at(-1)?.work ?? 0) });
    }
  }
  return points;
}

/** A value holds until the next one is found: a line of steps, the best value at the top or, of a minimum, at the bottom. */
function steps(points) {
  const values = points.map((point) => point.value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const end = points.at(-1).work || 1;
  const x = (point) => (EDGE + ((WIDTH - 2 * EDGE) * point.work) / end).toFixed(1);
  const y = (point) => (HEIGHT - EDGE - ((HEIGHT - 2 * EDGE) * (point.value - low)) / (high - low || 1)).toFixed(1);
  return points.map((point, index) => (index ? `H${x(point)}V${y(point)}` : `M${x(point)} ${y(point)}`)).join("");
}
