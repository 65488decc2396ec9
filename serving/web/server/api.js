/* The server, as four verbs: get, post, file, stream. Every failure is an ApiError that says in words what went wrong. */

import { events } from "./stream.js";

const HEADLINES = {
  0: "The server did not answer",
  400: "The server refused a field",
  401: "This server needs a key",
  403: "This key may not do that",
  404: "Not found",
  409: "That checkpoint is busy",
  413: "Too long for this server",
  429: "Too many requests with this key",
  500: "The server failed",
  503: "The server is full or not ready",
  504: "The server ran out of time",
};

/** A failed request: `headline` in our words, `message` in the server's, and what is needed to report it. */
export class ApiError extends Error {
  constructor(status, body = {}, headers = new Headers()) {
    super(body.message ?? "No further details.");
    this.status = status;
    this.headline = HEADLINES[status] ?? (status >= 500 ? HEADLINES[500] : HEADLINES[400]);
    this.param = body.param ?? null;
    this.code = body.code ?? null;
    this.requestId = headers.get("x-request-id");
    const seconds = Number(headers.get("retry-after"));
    this.retryAfter = seconds > 0 ? seconds : null;
  }
}

const KEY = "interplay.key";

/** Talks to the server that served this page. The key lives in this tab's session storage and nowhere else. */
export class Client {
  get key() {
    return sessionStorage.getItem(KEY) ?? "";
  }

  set key(value) {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  }

  async get(path, signal) {
    return (await this.#send(path, { method: "GET", signal })).json();
  }

  async post(path, body, signal) {
    return (await this.#send(path, this.#json(body, signal))).json();
  }

  /** The answer as a file. */
  async file(path, body) {
    return (await this.#send(path, this.#json(body))).blob();
  }

  /** Yields {name, data} with parsed data; an `error` event or a stream cut before `done` throws. */
  async *stream(path, body, signal) {
    yield* this.#events(await this.#send(path, this.#json({ ...body, stream: true }, signal)));
  }

  /** The same of a stream that nothing is sent to. */
  async *follow(path, signal) {
    yield* this.#events(await this.#send(path, { method: "GET", signal }));
  }

  async *#events(response) {
    let complete = false;
    for await (const event of this.#read(response)) {
      if (event.data === "[DONE]") {
        complete = true; // read on to the end: leaving early would look like a lost client
        continue;
      }
      const data = JSON.parse(event.data);
      if (event.name === "error") throw streamError(data.error, response.headers);
      yield { name: event.name, data };
    }
    if (!complete) throw streamError({ message: "The stream ended before the answer was complete." }, response.headers);
  }

  async *#read(response) {
    try {
      yield* events(response.body);
    } catch (error) {
      if (error instanceof TypeError) throw streamError({ message: "The connection broke off." }, response.headers);
      throw error;
    }
  }

  #json(body, signal) {
    return { method: "POST", signal, body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  }

  async #send(path, options) {
    const headers = { ...options.headers };
    if (this.key) headers.authorization = `Bearer ${this.key}`;
    const response = await fetch(new URL(path, document.baseURI), { ...options, headers }).catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, { message: "Is it running, and reachable from here?" });
    });
    if (response.ok) return response;
    const body = await response.json().catch(() => ({}));
    throw new ApiError(response.status, body.error ?? {}, response.headers);
  }
}

function streamError(body, headers) {
  const error = new ApiError(500, body, headers);
  error.headline = "The answer broke off";
  return error;
}
