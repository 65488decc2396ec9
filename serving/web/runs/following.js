/* The live runs that the page follows, a stream each; one that breaks is opened again. No elements. */

import { ApiError } from "../server/api.js";
import { pause } from "../server/pause.js";

const MOST = 3; // a browser has six connections to a server, and questions need some
const AGAIN_S = 1; // before a stream that broke is opened again, and twice as long after each try
const AGAIN_MOST_S = 60;

/**
 * Adds the steps of histories as they are logged. `live` tells whether a history may grow; `on` is called
 * `steps` with a history that has grown, `changed` when the curves had better be read anew, `told` when `follows`
 * or `trouble` says something else, `refused` with an error that does not pass.
 */
export class Following {
  #leaving = new AbortController();
  #streams = new Map(); // by history: null, or {error, seconds}: why it is not followed now, and when it is asked again

  constructor(client, live, on) {
    this.client = client;
    this.live = live;
    this.on = on;
  }

  /** Leaves all streams. */
  stop() {
    this.#leaving.abort();
    this.#leaving = new AbortController();
    this.#streams.clear();
  }

  /** Opens a stream for each live history that has none. */
  follow(histories) {
    for (const history of histories.filter(this.live))
      if (!this.#streams.has(history) && this.#streams.size < MOST) this.#follow(history, this.#leaving.signal);
  }

  follows(history) {
    return !this.client.saved && this.#streams.has(history);
  }

  /** What of `histories` is not followed now, and why, to be put after a sentence; "" where nothing has broken. */
  trouble(histories) {
    const broken = [...this.#streams].filter(([, trouble]) => trouble);
    if (!broken.length) return "";
    const names = histories.length > 1 ? `${broken.map(([{ run }]) => run).join(" and ")} ` : "";
    const [[, { error, seconds }]] = broken;
    return `, ${names}not followed now. ${error.headline}${seconds ? `; the page asks again in ${seconds} s` : ""}.`;
  }

  async #follow(history, signal) {
    this.#streams.set(history, null);
    for (let tries = 0; !signal.aborted && this.live(history); ) {
      const { run, stage, last } = history;
      const path = `v1/runs/${run}/events?${new URLSearchParams({ stage, after: last })}`;
      if (!this.client.answers(path)) return;
      try {
        for await (const { name, data } of this.client.follow(path, signal)) {
          this.#note(history, null);
          if (name === "changed" || (name === "steps" && !this.#add(history, data))) {
            this.#streams.delete(history);
            return this.on.changed();
          }
        }
        tries = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (history.last !== last) tries = 0;
        if (!this.client.saved && !(await this.#wait(history, error, tries, signal))) return;
        tries += 1;
      }
      if (this.client.saved && history.last === last) return; // what was recorded is told once
    }
    this.#streams.delete(history);
    if (!signal.aborted) this.on.told();
  }

  // False when there are so many points that they had better be read anew.
  #add(history, data) {
    if (!data.steps.length) return true;
    if (!history.add(data)) return false;
    this.on.steps(history);
    return true;
  }

  // False when another try will not do.
  async #wait(history, error, tries, signal) {
    if (!(error instanceof ApiError)) throw error;
    if (!error.passes) {
      this.#note(history, { error });
      this.on.refused(error);
      return false;
    }
    const seconds = Math.min(AGAIN_MOST_S, Math.max(error.retryAfter ?? 0, AGAIN_S * 2 ** tries));
    this.#note(history, { error, seconds });
    await pause(seconds * 1000, signal);
    return true;
  }

  #note(history, trouble) {
    if (!this.#streams.has(history) || (!trouble && !this.#streams.get(history))) return;
    this.#streams.set(history, trouble);
    this.on.told();
  }
}
