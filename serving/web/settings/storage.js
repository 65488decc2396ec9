/* Where the browser keeps things for the page. A sandboxed frame, or a person, may forbid it: then the page itself keeps them. */

/** Of "session" or "local": `getItem`, `setItem` and `removeItem`, as a browser's storage has them. */
export function storage(kind) {
  try {
    return window[`${kind}Storage`];
  } catch {
    const kept = new Map();
    return {
      getItem: (name) => kept.get(name) ?? null,
      setItem: (name, value) => kept.set(name, value),
      removeItem: (name) => kept.delete(name),
    };
  }
}
