/* What the server has answered, by request. A saved page carries a recording and answers from it. */

const REPEATED = /^event: (token|step|estimate)\n/; // what the event `done` says again in full

/** Answers as text, each with whether it had come to its end. */
export class Recording {
  #answers;

  constructor(answers = []) {
    this.#answers = new Map(answers);
  }

  /** The response under `key`, noted while it is read. It replaces an older one: a stream at once, another when it is whole. */
  note(key, response) {
    const answer = { text: "", whole: false };
    const noted = () => this.#answers.set(key, answer);
    if (response.headers.get("content-type")?.startsWith("text/event-stream")) noted();
    const decoder = new TextDecoder();
    const heard = new TransformStream({
      transform(chunk, controller) {
        answer.text += decoder.decode(chunk, { stream: true });
        controller.enqueue(chunk);
      },
      flush() {
        Object.assign(answer, { whole: true, text: brief(answer.text) });
        noted();
      },
    });
    return new Response(response.body.pipeThrough(heard), { headers: response.headers });
  }

  has(key) {
    return this.#answers.has(key);
  }

  /** The answer again; one that was given up breaks off where it did. */
  response(key) {
    const { text, whole } = this.#answers.get(key);
    const parts = [new TextEncoder().encode(text)];
    return new Response(
      new ReadableStream({
        pull(controller) {
          if (parts.length) controller.enqueue(parts.pop());
          else if (whole) controller.close();
          else controller.error(new DOMException("given up before it was saved", "AbortError"));
        },
      }),
    );
  }

  /** Forgets the answers of paths of which `stale` is true. */
  forget(stale) {
    for (const key of this.#answers.keys()) if (stale(key.split(" ")[1])) this.#answers.delete(key);
  }

  /** The answer under `key`, to be put back with `put` after it was forgotten. */
  get(key) {
    return [key, this.#answers.get(key)];
  }

  put([key, answer]) {
    this.#answers.set(key, answer);
  }

  toJSON() {
    return [...this.#answers];
  }
}

function brief(text) {
  if (!text.includes("\nevent: done\n")) return text;
  return text
    .split("\n\n")
    .filter((event) => !REPEATED.test(event))
    .join("\n\n");
}
