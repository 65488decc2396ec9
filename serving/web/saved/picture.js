/* A part of the page as one SVG that stands alone: boxes, text and drawings where they stand, with their styles written out. */

import { svg } from "../elements/dom.js";

const STYLES = [
  ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "opacity"],
  ["visibility", "text-anchor", "font-family", "font-size", "font-weight"],
].flat();
const NOT_DRAWN = /^(class|style|role|tabindex|data-.*|aria-.*)$/;
const NOT_XML = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]/gu;
const MARGIN = 24;
const SIDES = ["Top", "Right", "Bottom", "Left"];
const CONTROLS = "input, select, textarea, .unseen";

/** What `root` shows, as the text of an SVG file in the page's colours. */
export function picture(root) {
  const { left, top, width, height } = root.getBoundingClientRect();
  const parts = [...partsOf(root, null)];
  const across = Math.max(width, ...parts.map(({ right }) => right - left)) + 2 * MARGIN;
  const down = height + 2 * MARGIN;
  const paper = svg("rect", { width: across, height: down, fill: plain(getComputedStyle(document.body).backgroundColor) });
  const drawing = svg("svg", { width: across, height: down, viewBox: `0 0 ${across} ${down}` }, paper);
  drawing.append(...parts.map((part) => part.draw(left - MARGIN, top - MARGIN)));
  return new XMLSerializer().serializeToString(drawing);
}

// What is drawn of `element`, from back to front: {right, draw(left, top)}. What is scrolled out of `frame` is left out.
function* partsOf(element, frame) {
  const box = element.getBoundingClientRect();
  if (element.matches(CONTROLS) || !element.checkVisibility() || (frame && !meets(box, frame))) return;
  if (element.localName === "svg") {
    yield { right: box.right, draw: (left, top) => drawingOf(element, box, left, top) };
    return;
  }
  const style = getComputedStyle(element);
  const inner = style.overflowY === "visible" ? frame : box;
  yield* boxesOf(box, style);
  for (const child of element.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) yield* linesOf(child, style, inner);
    else if (child.nodeType === Node.ELEMENT_NODE) yield* partsOf(child, inner);
  }
}

const meets = (box, frame) => box.bottom > frame.top && box.top < frame.bottom;

function* boxesOf({ left, top, right, bottom, width, height }, style) {
  const border = parseFloat(style.borderTopWidth);
  const even = border > 0 && SIDES.every((side) => parseFloat(style[`border${side}Width`]) === border);
  const rx = Math.min(parseFloat(style.borderRadius) || 0, height / 2);
  const edge = even ? { stroke: plain(style.borderTopColor), "stroke-width": border } : {};
  const rect = (across, fill, line) => ({
    right,
    draw: (x, y) => svg("rect", { x: left - x, y: top - y, width: across, height, rx, fill, ...line }),
  });
  const fill = plain(style.backgroundColor);
  if (even || !/, 0\)$/.test(fill)) yield rect(width, fill, edge);
  const bar = /^linear-gradient\((rgba?\([^)]+\))/.exec(style.backgroundImage); // a share, drawn as a background of that width
  if (bar) yield rect((width * parseFloat(style.backgroundSize)) / 100, bar[1], {});
  if (even) return;
  const ends = [[left, top, right, top], [right, top, right, bottom], [left, bottom, right, bottom], [left, top, left, bottom]];
  for (const [i, [x1, y1, x2, y2]] of ends.entries()) {
    const [size, stroke] = [parseFloat(style[`border${SIDES[i]}Width`]), plain(style[`border${SIDES[i]}Color`])];
    const draw = (x, y) => svg("path", { d: `M${x1 - x} ${y1 - y}L${x2 - x} ${y2 - y}`, stroke, "stroke-width": size });
    if (size > 0) yield { right, draw };
  }
}

// A text node as its lines; each is as long as it is here, whatever the font of the reader.
function* linesOf(node, style, frame) {
  const range = document.createRange();
  const lines = [];
  for (const { index, 0: word } of node.data.matchAll(/\S+/g)) {
    range.setStart(node, index);
    range.setEnd(node, index + word.length);
    const box = range.getBoundingClientRect();
    const line = lines.at(-1);
    if (line && Math.abs(line.top - box.top) < 2) Object.assign(line, { text: `${line.text} ${word}`, right: box.right });
    else if (box.width && (!frame || meets(box, frame)))
      lines.push({ text: word, left: box.left, top: box.top, right: box.right, height: box.height });
  }
  const size = parseFloat(style.fontSize);
  const font = { "font-size": size, "font-weight": style.fontWeight, "font-family": style.fontFamily };
  const look = { fill: plain(style.color), "text-decoration": style.textDecorationLine, ...font };
  for (const { text, left, top, right, height } of lines) {
    const long = { textLength: right - left, lengthAdjust: "spacingAndGlyphs" };
    const baseline = top + height / 2 + size * 0.35;
    const draw = (x, y) => svg("text", { x: left - x, y: baseline - y, ...look, ...long }, text.replace(NOT_XML, "\ufffd"));
    yield { right, draw };
  }
}

function drawingOf(element, box, left, top) {
  const copy = copied(element);
  const place = { x: box.left - left, y: box.top - top, width: box.width, height: box.height, overflow: "visible" };
  for (const [name, value] of Object.entries(place)) copy.setAttribute(name, value);
  return copy;
}

function copied(element) {
  const style = getComputedStyle(element);
  const own = [...element.attributes].filter(({ name }) => !NOT_DRAWN.test(name)).map(({ name, value }) => [name, value]);
  const written = STYLES.map((name) => [name, plain(style.getPropertyValue(name))]);
  const children = [...element.childNodes].map((child) =>
    child.nodeType === Node.TEXT_NODE ? child.data.replace(NOT_XML, "\ufffd") : copied(child),
  );
  return svg(element.localName, Object.fromEntries([...own, ...written]), children);
}

// Mixed colours are computed in a notation that few readers of SVG know; so is the quoting of a reference.
function plain(value) {
  const known = value.replace(/color\(srgb ([\d.]+) ([\d.]+) ([\d.]+)(?: \/ ([\d.]+))?\)/g, (_, r, g, b, alpha = "1") => {
    const [red, green, blue] = [r, g, b].map((share) => Math.round(share * 255));
    return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
  });
  return known.replace(/url\("(#[^"]+)"\)/, "url($1)");
}
