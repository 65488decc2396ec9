/* The curves of one run's stage on the page: what the server sent, and the steps that came since. No elements. */

const MOST = 2000; // points of a curve before it is asked for anew, thinned by the server

/** Curves by name, {steps, values}; `strata` by name, {pass_rate, share}. */
export class History {
  constructor(answer) {
    this.run = answer.run;
    this.stage = answer.stage;
    this.curves = new Map(Object.entries(answer.curves));
    this.evaluations = new Map(Object.entries(answer.evaluations));
    this.strata = new Map(answer.strata.map(({ name, pass_rate, share }) => [name, { pass_rate, share }]));
    this.leftOut = answer.strata_left_out;
    this.last = answer.last;
  }

  /** Adds the rows of a `steps` event; false when there are so many points that they had better be read anew. */
  add({ steps, curves, strata }) {
    for (const [name, values] of Object.entries(curves)) append(this.curves, name, steps, values);
    for (const [name, numbers] of Object.entries(strata)) {
      if (!this.strata.has(name)) this.strata.set(name, { pass_rate: blank(), share: blank() });
      for (const [key, values] of Object.entries(numbers)) push(this.strata.get(name)[key], steps, values);
    }
    this.last = steps.at(-1) ?? this.last;
    return Math.max(0, ...[...this.curves.values()].map((curve) => curve.steps.length)) <= MOST;
  }
}

const blank = () => ({ steps: [], values: [] });

function append(curves, name, steps, values) {
  if (!curves.has(name)) curves.set(name, blank());
  push(curves.get(name), steps, values);
}

function push(curve, steps, values) {
  values.forEach((value, i) => {
    if (value === null) return;
    curve.steps.push(steps[i]);
    curve.values.push(value);
  });
}

/** The place in rising `steps` that is nearest to `step`. */
export function nearest(steps, step) {
  let [low, high] = [0, steps.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] < step) low = middle + 1;
    else high = middle;
  }
  return low > 0 && step - steps[low - 1] < steps[low] - step ? low - 1 : low;
}
