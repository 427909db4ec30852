// The second view: runs as results.jsonl recorded them, round by round.

import { ask, byId, html, number, svg } from "./dom.js";
import { colourOf } from "./marks.js";

const WIDTH = 760;
const LEFT = 52;
const RIGHT = 12;
const MOST_CHOSEN = 6;

export class Replay {
  async show() {
    const place = byId("replayed");
    let found;
    try {
      found = await ask("api/runs");
    } catch (error) {
      place.replaceChildren(html("p", { class: "trouble" }, error.message));
      return;
    }
    const runs = found.runs.filter((run) => run.rounds.length);
    if (!runs.length) {
      place.replaceChildren(
        html("p", {}, "No run is loaded. Make one and open it here:"),
        html("pre", {}, html("code", {}, "byzflower run --out runs/first\nbyzflower play runs/first")),
      );
      return;
    }
    this.runs = runs.map((run, index) => ({ ...run, index, name: nameOf(run, runs), drawn: index < MOST_CHOSEN }));
    this.last = Math.max(...runs.map((run) => run.rounds.at(-1).round));
    this.round = this.last;
    const chooses = (r) => r.weights && Object.values(r.weights).includes(0);
    this.detail = this.runs.find((run) => run.rounds.some(chooses)) ?? this.runs[0];
    this.#build(place, found.folder);
    this.#draw();
  }

  #build(place, folder) {
    const slider = html("input", {
      id: "round", type: "range", min: 0, max: this.last, value: this.round,
      input: () => this.#goTo(Number(slider.value)),
    });
    this.slider = slider;
    this.shownRound = html("span", { class: "value", "aria-hidden": "true" });
    this.play = html("button", { type: "button", class: "primary", "aria-pressed": "false", click: () => this.#run() }, "Play");
    this.charts = html("div", { class: "charts" });
    this.atRound = html("tbody", {});
    this.heat = html("div", { class: "heat" });
    this.heatKey = null;
    const config = this.runs[0].config;
    const same = ["dataset", "partition", "n", "f"].filter((key) => this.runs.every((run) => run.config[key] === config[key]));
    place.replaceChildren(
      html("p", { class: "folder" }, folder, same.length ? ` · ${same.map((key) => (["n", "f"].includes(key) ? `${key} = ${config[key]}` : config[key])).join(", ")}` : ""),
      html("div", { class: "player" }, this.play, html("label", { for: "round" }, "round"), slider, this.shownRound),
      this.charts,
      html(
        "div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The runs at this round" },
        html(
          "table", {},
          html("caption", { class: "unseen" }, "Every run at the chosen round"),
          html("thead", {}, html("tr", {}, ...["run", "accuracy", "loss", "threshold", "rejected", "rule drawn or round skipped"].map((text, i) => html("th", { scope: "col", class: i > 0 && i < 5 ? "number" : null }, text)))),
          this.atRound,
        ),
      ),
      this.heat,
    );
  }

  #goTo(round) {
    this.round = round;
    this.slider.value = round;
    this.#draw();
  }

  #run() {
    if (this.running) {
      clearInterval(this.running);
      this.running = null;
    } else {
      if (this.round >= this.last) this.round = 0;
      const step = Math.max(1, Math.round(this.last / 120));
      this.running = setInterval(() => {
        this.#goTo(Math.min(this.last, this.round + step));
        if (this.round >= this.last) this.#run();
      }, 60);
    }
    this.play.textContent = this.running ? "Pause" : "Play";
    this.play.setAttribute("aria-pressed", String(Boolean(this.running)));
  }

  #draw() {
    this.shownRound.textContent = `${this.round} of ${this.last}`;
    const drawn = this.runs.filter((run) => run.drawn);
    const charts = [
      this.#chart(drawn, "accuracy", "Test accuracy", 372, 1, (v) => `${Math.round(100 * v)}%`),
      this.#chart(drawn, "threshold", "Clipping threshold", 130, null, number),
      this.#chart(drawn, "rejected", "Rejected replies", 130, null, (v) => (Number.isInteger(v) ? String(v) : "")),
    ];
    this.charts.replaceChildren(...charts.filter(Boolean));
    this.atRound.replaceChildren(...this.runs.map((run) => this.#row(run)));
    this.#drawHeat();
  }

  #row(run) {
    const at = latest(run, this.round) ?? {};
    const rejections = Object.entries(at.rejections ?? {}).map(([node, reason]) => `node ${node}: ${reason}`).join(", ");
    const cell = (value, text) => html("td", { class: "number" }, value == null ? "–" : text(value));
    const shown = html("input", {
      type: "checkbox", "aria-label": `draw ${run.name}`,
      change: () => {
        run.drawn = shown.checked;
        this.#draw();
      },
    });
    shown.checked = run.drawn;
    return html(
      "tr", {},
      html("th", { scope: "row" }, html("span", { class: "cell" }, shown, html("span", { class: `line ${colourOf(run.index)}`, "aria-hidden": "true" }), run.finished ? run.name : `${run.name} (unfinished)`)),
      cell(at.accuracy, (v) => `${(100 * v).toFixed(1)}%`),
      cell(at.loss, number),
      cell(at.threshold, number),
      html("td", { class: "number", title: rejections }, at.rejected == null ? "–" : String(at.rejected)),
      html("td", {}, [at.drawn, at.skipped, rejections].filter(Boolean).join("; ")),
    );
  }

  #chart(runs, key, title, height, highest, text) {
    const across = Math.min(WIDTH, this.charts.clientWidth - 22); // a unit a pixel on a phone
    const values = runs.flatMap((run) => run.rounds.map((r) => r[key])).filter((v) => v != null);
    if (!values.length || (key === "rejected" && !Math.max(...values))) return null;
    const top = highest ?? roundedUp(Math.max(...values));
    const bottom = height - 24;
    const x = (round) => LEFT + ((across - LEFT - RIGHT) * round) / Math.max(1, this.last);
    const y = (value) => bottom - (bottom - 12) * Math.min(1, value / top);
    const ticks = (highest ? [0, 0.25, 0.5, 0.75, 1] : [0, 0.5, 1]).map((share) => share * top);
    const lines = runs.map((run) => {
      const path = run.rounds.filter((r) => r[key] != null).map((r, i) => `${i ? "L" : "M"}${x(r.round).toFixed(1)} ${y(r[key]).toFixed(1)}`);
      return svg("path", { d: path.join(""), class: `curve ${colourOf(run.index)}`, "stroke-dasharray": run.index < 6 ? null : "6 4" });
    });
    const last = runs.map((run) => `${run.name}: ${text(latest(run, this.round)?.[key] ?? 0)}`).join("; ");
    return html(
      "figure", {},
      html("figcaption", {}, title),
      svg(
        "svg", { viewBox: `0 0 ${across} ${height}`, role: "img", "aria-label": `${title} at round ${this.round}. ${last}` },
        ...ticks.map((v) => svg("g", {}, svg("path", { d: `M${LEFT} ${y(v)}H${across - RIGHT}`, class: "line" }), svg("text", { x: LEFT - 8, y: y(v) + 4, "text-anchor": "end" }, text(v)))),
        svg("text", { x: LEFT, y: height - 6 }, "0"),
        svg("text", { x: across - RIGHT, y: height - 6, "text-anchor": "end" }, `round ${this.last}`),
        ...lines,
        svg("path", { d: `M${x(this.round)} 8V${bottom}`, class: "cursor" }),
      ),
    );
  }

  // Whose updates counted: a row a node, a column a round, the darker the more weight.
  #drawHeat() {
    const weighed = this.runs.filter((run) => run.rounds.some((r) => r.weights));
    if (!weighed.length) {
      this.heat.replaceChildren(html("p", { class: "hint" }, "These rules treat every coordinate by itself: no node is selected or left out as a whole."));
      return;
    }
    const run = weighed.includes(this.detail) ? this.detail : weighed[0];
    const rounds = run.rounds.filter((r) => r.weights);
    const nodes = [...new Set(rounds.flatMap((r) => Object.keys(r.weights)))].sort((a, b) => a - b);
    const colluding = (node) => run.config.attack !== "none" && node > run.config.n - run.config.f;
    const across = Math.max(320, this.heat.clientWidth - 34); // a unit a pixel: text keeps its size
    const cell = Math.max(3, Math.min(18, 420 / nodes.length));
    const height = nodes.length * cell + 24;
    const width = (across - LEFT - RIGHT) / (this.last + 1);
    const cells = [];
    rounds.forEach((r) => nodes.forEach((node, i) => {
      const weight = r.weights[node];
      if (!weight) return;
      cells.push(svg("rect", {
        x: (LEFT + width * r.round).toFixed(2), y: i * cell, width: Math.max(0.6, width).toFixed(2), height: cell - 0.6,
        class: colluding(node) ? "hot bad" : "hot", "fill-opacity": Math.min(1, 0.15 + 0.45 * Math.abs(weight)).toFixed(2),
      }));
    }));
    const labels = nodes.map((node, i) => svg("text", { x: LEFT - 8, y: i * cell + cell * 0.75, "text-anchor": "end", class: colluding(node) ? "bad" : null }, cell > 9 || i % 5 === 0 ? node : ""));
    const at = latest({ rounds }, this.round);
    const counted = at ? nodes.filter((node) => at.weights[node]) : [];
    const choose = html("select", { id: "heat-run", change: () => {
      this.detail = weighed[choose.selectedIndex];
      this.#draw();
    } }, ...weighed.map((other) => html("option", { selected: other === run }, other.name)));
    const key = `${run.index} ${across}`;
    if (this.heatKey !== key) {
      this.heatKey = key;
      this.cursor = svg("path", { class: "cursor" });
      this.counted = html("p", { class: "hint" });
      this.heat.replaceChildren(
        html("figure", {},
          html("figcaption", {}, html("label", { for: "heat-run" }, "Whose updates counted, by node and round: "), choose),
          svg("svg", { viewBox: `0 0 ${across} ${height}`, role: "img", "aria-label": `Weight of each node's update in each round of ${run.name}` }, ...cells, ...labels, this.cursor, svg("text", { x: across - RIGHT, y: height - 6, "text-anchor": "end" }, `round ${this.last}`)),
        ),
        this.counted,
      );
    }
    const x = LEFT + width * (this.round + 0.5);
    this.cursor.setAttribute("d", `M${x} 0V${height - 22}`);
    const bad = counted.filter(colluding);
    this.counted.textContent = `Round ${this.round}: the updates of ${counted.length} of ${nodes.length} nodes counted${bad.length ? `, malicious ones among them: ${bad.join(", ")}` : ", no malicious one among them"}.`;
  }
}

// The next of 1, 2, 4, 6, 8, 10, 20, …, so that half of it is round, too.
function roundedUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 4, 6, 8, 10].find((step) => step * power >= value * 0.999);
}

const latest = (run, round) => run.rounds.filter((r) => r.round <= round).at(-1);

// The rule, and the options in which the runs differ.
function nameOf(run, runs) {
  const differ = ["attack", "partition", "dataset", "client", "n", "f", "seed"].filter((key) => runs.some((other) => other.config[key] !== runs[0].config[key]));
  return [run.config.rule ?? "?", ...differ.map((key) => `${key} ${run.config[key]}`)].join(", ");
}
