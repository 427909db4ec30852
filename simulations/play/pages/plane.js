// The plane: points that can be dragged or moved by arrow keys, and what is drawn around them.

import { number, svg } from "./dom.js";
import { mark } from "./marks.js";

const SIZE = 600;
const EDGE = 14;

export class Plane {
  constructor(element, { moved }) {
    this.element = element;
    this.moved = moved; // (kind, index, [x, y])
    this.reach = 6;
    this.layers = {};
    for (const name of ["grid", "balls", "mixed", "halos", "points", "outputs"]) {
      this.layers[name] = svg("g", { class: name });
      element.append(this.layers[name]);
    }
    this.handles = { honest: [], malicious: [] };
  }

  draw({ reach, honest, malicious, answer, rules, shown, focus, lambda }) {
    this.reach = reach;
    // On a phone the plane shrinks; what is written on it must not.
    this.zoom = Math.min(1.7, Math.max(1, (0.95 * SIZE) / (this.element.clientWidth || SIZE)));
    this.element.style.setProperty("--zoom", this.zoom);
    this.#drawGrid();
    this.#place("honest", honest);
    this.#place("malicious", malicious);
    if (!answer) return;
    const outputs = answer.rules.filter((rule) => shown.includes(rule.name) && !rule.error);
    this.#drawBalls(answer, outputs, focus, lambda);
    this.#drawMixed(answer.before, [...honest, ...malicious].filter((point) => finite(point)));
    this.#drawHalos([...honest, ...malicious], outputs.find((rule) => rule.name === focus));
    this.#drawOutputs(outputs, rules, answer, lambda, focus);
  }

  #at([x, y]) {
    const unit = SIZE / 2 / this.reach;
    return [SIZE / 2 + x * unit, SIZE / 2 - y * unit];
  }

  // Points beyond the edge stand at it, marked as such.
  #clamped(point) {
    const [x, y] = this.#at(point);
    const inside = (v) => Math.min(SIZE - EDGE, Math.max(EDGE, v));
    return [inside(x), inside(y), x !== inside(x) || y !== inside(y)];
  }

  #drawGrid() {
    const step = [1, 2, 5, 10, 20, 50, 100].find((s) => this.reach / s <= 8) ?? 200;
    const lines = [];
    for (let v = -Math.floor(this.reach / step) * step; v <= this.reach; v += step) {
      const [x, y] = this.#at([v, v]);
      const kind = v === 0 ? "axis" : "line";
      lines.push(
        svg("path", { d: `M${x} 0V${SIZE}`, class: kind }),
        svg("path", { d: `M0 ${y}H${SIZE}`, class: kind }),
      );
    }
    const [x, y] = this.#at([0, 0]);
    lines.push(svg("text", { x: x + 6, y: y + 16, class: "small" }, "0"));
    this.layers.grid.replaceChildren(...lines);
  }

  #place(kind, points) {
    const handles = this.handles[kind];
    while (handles.length > points.length) handles.pop().remove();
    while (handles.length < points.length) handles.push(this.#handle(kind, handles.length));
    points.forEach((point, i) => {
      const handle = handles[i];
      handle.point = point;
      handle.classList.toggle("gone", !finite(point));
      const [x, y, beyond] = this.#clamped(finite(point) ? point : [0, -this.reach]);
      handle.setAttribute("transform", `translate(${x} ${y}) scale(${this.zoom})`);
      handle.classList.toggle("beyond", beyond);
      const where = finite(point) ? `at ${number(point[0])}, ${number(point[1])}` : "not a number";
      handle.setAttribute("aria-label", `${kind} ${i + 1}, ${where}`);
    });
  }

  #handle(kind, index) {
    const shape =
      kind === "honest"
        ? svg("circle", { r: 7, class: kind })
        : svg("path", { d: "M0-10 9.5 7.5H-9.5z", class: kind });
    const handle = svg(
      "g",
      {
        class: "handle",
        tabindex: 0,
        role: "button",
        "aria-roledescription": "point to drag",
        "data-kind": kind,
        "data-index": index,
      },
      svg("circle", { r: 18, class: "grip" }),
      shape,
    );
    const move = (point) => this.moved(kind, index, point.map((v) => Math.round(v * 1000) / 1000));
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      handle.classList.add("dragged");
      handle.focus({ preventScroll: true });
      event.preventDefault();
    });
    handle.addEventListener("pointermove", (event) => {
      if (handle.hasPointerCapture(event.pointerId)) move(this.#underPointer(event));
    });
    const letGo = () => handle.classList.remove("dragged");
    handle.addEventListener("pointerup", letGo);
    handle.addEventListener("pointercancel", letGo);
    handle.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!way) return;
      event.preventDefault();
      const step = (event.shiftKey ? 0.1 : 0.02) * this.reach;
      const [x, y] = finite(handle.point) ? handle.point : [0, 0];
      move([x + way[0] * step, y + way[1] * step]);
    });
    this.layers.points.append(handle);
    return handle;
  }

  #underPointer(event) {
    const matrix = this.element.getScreenCTM().inverse();
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
    const unit = SIZE / 2 / this.reach;
    const within = (v) => Math.min(this.reach, Math.max(-this.reach, v));
    return [within((x - SIZE / 2) / unit), within((SIZE / 2 - y) / unit)];
  }

  #drawBalls(answer, outputs, focus, lambda) {
    const unit = SIZE / 2 / this.reach;
    const [x, y] = this.#at(answer.mean);
    const radius = lambda * answer.diameter;
    const broken = outputs.some((rule) => isOutside(rule, answer, lambda));
    const drawn = [
      svg("circle", { cx: x, cy: y, r: radius * unit, class: `ball${broken ? " broken" : ""}` }),
      svg("path", { d: `M${x - 8} ${y}h16M${x} ${y - 8}v16`, class: "centre" }),
    ];
    const promised = outputs.find((rule) => rule.name === focus)?.radius;
    if (promised != null) drawn.push(svg("circle", { cx: x, cy: y, r: promised * unit, class: "promise" }));
    if (answer.before?.threshold != null) {
      const [zx, zy] = this.#at([0, 0]);
      const r = answer.before.threshold * unit;
      drawn.push(
        svg("circle", { cx: zx, cy: zy, r, class: "threshold" }),
        svg("text", { x: zx + 4, y: Math.max(14, zy - r - 5), class: "small" }, "clipping threshold"),
      );
    }
    this.layers.balls.replaceChildren(...drawn);
  }

  #drawMixed(before, originals) {
    const points = before?.points ?? [];
    const drawn = points.map((point, i) => {
      const [x, y] = this.#clamped(point);
      const dot = svg("circle", { cx: x, cy: y, r: 4, class: "mixed" });
      if (points.length !== originals.length) return dot;
      const [ox, oy] = this.#clamped(originals[i]);
      return svg("g", {}, svg("path", { d: `M${ox} ${oy}L${x} ${y}`, class: "trace" }), dot);
    });
    this.layers.mixed.replaceChildren(...drawn);
  }

  // A halo's area is the point's weight in the rule in focus.
  #drawHalos(points, rule) {
    const drawn = (rule?.weights ?? []).flatMap((weight, i) => {
      if (!weight || !finite(points[i])) return [];
      const [x, y] = this.#clamped(points[i]);
      return svg("circle", { cx: x, cy: y, r: 12 * Math.sqrt(Math.abs(weight) * points.length), class: "halo" });
    });
    this.layers.halos.replaceChildren(...drawn);
  }

  #drawOutputs(outputs, rules, answer, lambda, focus) {
    const taken = [];
    const drawn = outputs.map((rule) => {
      const [x, y, beyond] = this.#clamped(rule.value);
      const outside = isOutside(rule, answer, lambda);
      const place = freePlace(x, y, rule.name.length * 6.9 * this.zoom, this.zoom, taken);
      const kinds = [outside && "outside", beyond && "beyond", rule.name === focus && "focused"];
      return svg(
        "g",
        { class: `output ${kinds.filter(Boolean).join(" ")}`, "data-rule": rule.name },
        svg("g", { transform: `translate(${x} ${y}) scale(${this.zoom})` }, mark(rules.indexOf(rule.name))),
        svg("text", { x: place.x, y: place.y, "text-anchor": place.anchor }, rule.name),
      );
    });
    this.layers.outputs.replaceChildren(...drawn);
  }
}

export const finite = (point) => point[0] != null && point[1] != null;

export const isOutside = (rule, answer, lambda) =>
  rule.distance == null || rule.distance > lambda * answer.diameter + 1e-9;

// Try eight places around a mark for its label; take the first that covers no other label.
function freePlace(x, y, width, zoom, taken) {
  const tries = [];
  for (const dy of [4, 18, -10, 32, -24, 46, -38].map((v) => v * zoom)) {
    tries.push({ x: x + 13 * zoom, y: y + dy, anchor: "start" }, { x: x - 13 * zoom, y: y + dy, anchor: "end" });
  }
  const box = (place) => {
    const left = place.anchor === "start" ? place.x : place.x - width;
    return { left, right: left + width, top: place.y - 11 * zoom, bottom: place.y + 3 * zoom };
  };
  const fits = (place) => {
    const b = box(place);
    if (b.left < 2 || b.right > SIZE - 2 || b.top < 2 || b.bottom > SIZE - 2) return false;
    return taken.every((t) => b.right < t.left || b.left > t.right || b.bottom < t.top || b.top > t.bottom);
  };
  const place = tries.find(fits) ?? tries[0];
  taken.push(box(place), { left: x - 7, right: x + 7, top: y - 7, bottom: y + 7 });
  return place;
}
