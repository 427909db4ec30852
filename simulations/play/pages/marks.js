// A rule's mark: colour and shape together tell seventeen rules apart, with any colour vision.

import { svg } from "./dom.js";

const SHAPES = [
  "M-6-6H6V6H-6z",
  "M0-8 8 0 0 8-8 0z",
  "M0 8-7.5-5.5H7.5z",
  "M-2.3-7h4.6v4.7H7v4.6H2.3V7h-4.6V2.3H-7v-4.6h4.7z",
  "M0-8 2.2-2.6 8-2.5 3.5 1.2 5 7 0 3.8-5 7l1.5-5.8L-8-2.5l5.8-.1z",
];
const COLOURS = 6;

export const colourOf = (index) => `mark-${index % COLOURS}`;

export function mark(index, attributes = {}) {
  const shape = SHAPES[(index + Math.floor(index / COLOURS)) % SHAPES.length];
  return svg("path", { d: shape, ...attributes, class: `mark ${colourOf(index)} ${attributes.class ?? ""}` });
}

export const swatch = (index) =>
  svg("svg", { viewBox: "-10 -10 20 20", class: "swatch", "aria-hidden": "true" }, mark(index));
