/** Asks the node for JSON. The session cookie says who asks; nothing is sent anywhere else. */

const SECONDS_MAX = 15;
const SKEW_MILLISECONDS_MIN = 2000; // the Date header counts whole seconds

/** The node answered, and the answer is no. A node that does not answer is a TypeError of fetch. */
export class Refusal extends Error {
  constructor(status, detail, faults = [], code = "") {
    super(detail);
    this.status = status;
    this.faults = faults; // each with the pointer to what is wrong
    this.code = code;
  }
}

export const clock = {
  skew: 0,
  stoppedAt: 0, // while the node is not heard, nothing gets older: nobody knows what runs still
  /** Seconds since the epoch, as the node counts them: this machine's clock may be wrong. */
  now() {
    return ((this.stoppedAt || Date.now()) - this.skew) / 1000;
  },
};

/** The JSON of a path. Raises Refusal. */
export async function ask(path, { method = "GET", body } = {}) {
  const response = await fetch(path, {
    method,
    headers: { Accept: "application/json", ...(body && { "Content-Type": "application/json" }) },
    body: body && JSON.stringify(body),
    credentials: "same-origin",
    cache: "no-store",
    signal: AbortSignal.timeout(SECONDS_MAX * 1000),
  });
  if (!response.ok) throw await refusalOf(response);
  setClock(response);
  return response.status === 204 ? null : parse(await response.text());
}

/** JSON as the node means it: whole numbers beyond what a double holds exactly (seeds) keep their digits. */
export function parse(text) {
  return JSON.parse(text, (_, value, context) => {
    const exact = typeof value !== "number" || !Number.isInteger(value) || Number.isSafeInteger(value);
    return exact || !context?.source || !JSON.rawJSON || /[.eE]/.test(context.source) ? value : JSON.rawJSON(context.source);
  });
}

/** What a problem document says; the status where there is none. */
export async function refusalOf(response) {
  try {
    const problem = await response.json();
    const detail = problem.detail || problem.title || `HTTP ${response.status}`;
    return new Refusal(response.status, detail, problem.errors ?? [], String(problem.type ?? "").split(":").pop());
  } catch {
    return new Refusal(response.status, `HTTP ${response.status}`);
  }
}

function setClock(response) {
  const skew = Date.now() - Date.parse(response.headers.get("Date"));
  if (!Number.isNaN(skew)) clock.skew = Math.abs(skew) < SKEW_MILLISECONDS_MIN ? 0 : skew;
}
