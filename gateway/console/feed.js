/**
 * Follows the node's log from a position on, for ever: each record once and in order, over any number of connections.
 *
 * Reads the stream with fetch, since EventSource hides why it failed (signed out, or the node is gone) and wants every kind
 * of event to be named before it comes.
 */

import { Refusal, parse, refusalOf } from "./api.js";

const SILENCE_SECONDS_MAX = 25; // the node says something every 10 s
const PAUSE_SECONDS = [0.5, 1, 2, 4, 5];
const SIGNED_OUT_SECONDS = 5;
const BUFFER_CHARACTERS_MAX = 4 * 1024 * 1024;

export class Feed {
  /**
   * `hear` gets `before()` (asked before each connection: the position to begin after), `record(record)`, `position(number)`,
   * `heard()`, `open()`, and `closed(error, seconds)` with the pause until the next attempt.
   */
  constructor(hear) {
    this.hear = hear;
    this.wake = () => {};
    this.abort = () => {};
  }

  async run() {
    for (let failures = 0; ; failures += 1) {
      let error = new TypeError("the node ended the stream");
      try {
        await this.connect(() => (failures = 0));
      } catch (caught) {
        error = caught;
      }
      const signedOut = error instanceof Refusal && error.status === 401;
      const seconds = signedOut ? SIGNED_OUT_SECONDS : PAUSE_SECONDS[Math.min(failures, PAUSE_SECONDS.length - 1)];
      this.hear.closed(error, seconds);
      await this.pause(seconds);
    }
  }

  /** Tries again at once. */
  retry() {
    this.wake();
  }

  /** Ends the connection, if there is one, and makes a new one. */
  again() {
    this.abort();
    this.wake();
  }

  async connect(opened) {
    const after = await this.hear.before();
    const controller = new AbortController();
    this.abort = () => controller.abort(new TypeError("connected anew"));
    const response = await fetch(`/v1/feed?after=${after}`, {
      headers: { Accept: "text/event-stream" },
      credentials: "same-origin",
      cache: "no-store",
      signal: controller.signal,
    });
    if (!response.ok) throw await refusalOf(response);
    opened();
    this.hear.open();
    await this.read(response.body.pipeThrough(new TextDecoderStream()).getReader(), controller);
  }

  async read(reader, controller) {
    let buffer = "";
    for (;;) {
      const silence = setTimeout(
        () => controller.abort(new TypeError(`nothing was heard for ${SILENCE_SECONDS_MAX} s`)),
        SILENCE_SECONDS_MAX * 1000,
      );
      const { value, done } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return;
      this.hear.heard();
      const blocks = (buffer + value).split("\n\n");
      buffer = blocks.pop();
      if (buffer.length > BUFFER_CHARACTERS_MAX) throw new TypeError("the stream makes no sense");
      blocks.forEach((block) => this.tell(block));
    }
  }

  tell(block) {
    const fields = {};
    for (const line of block.split("\n")) {
      const colon = line.indexOf(":");
      if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
    }
    if (fields.data === undefined) return;
    if (fields.event === "position") this.hear.position(Number(fields.data));
    else this.hear.record(parse(fields.data));
  }

  pause(seconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
