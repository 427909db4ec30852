// The first view: a crowd, an attack, a defence; every change asks the library anew.

import { colluders, crowd, shrinking } from "./crowd.js";
import { ask, byId, html, number } from "./dom.js";
import { swatch } from "./marks.js";
import { Plane, isOutside } from "./plane.js";

export const START = {
  n: 13,
  f: 3,
  assumed: 3,
  heterogeneity: 0.7,
  noise: 0.6,
  beta: 0,
  attack: "",
  factor: 3,
  adaptive: false,
  before: "",
  lambda: 1,
  reach: 6,
  rules: ["mean", "median", "krum", "geometric_median"],
  focus: "median",
  seed: 1,
  round: 0,
};

export class Playground {
  constructor(catalogue) {
    this.catalogue = catalogue;
    this.names = Object.keys(catalogue.rules);
    this.plane = new Plane(byId("field"), { moved: (...what) => this.#move(...what) });
    this.#buildControls();
    this.#buildTable();
    this.set(START);
  }

  // Start from a scene, with nothing moved by hand but what the scene says.
  set(scene) {
    this.state = { ...START, ...scene };
    this.state.assumed = scene.assumed ?? this.state.f;
    this.offsets = new Map();
    this.standing = scene.malicious ?? colluders(this.state.f);
    this.answer = null;
    this.#changed();
  }

  #change(values) {
    Object.assign(this.state, values);
    const { state } = this;
    if ("n" in values) state.f = Math.min(state.f, state.n - 1);
    if ("n" in values || "f" in values) state.assumed = state.f;
    while (this.standing.length > state.f) this.standing.pop();
    const more = colluders(state.f);
    while (this.standing.length < state.f) this.standing.push(more[this.standing.length]);
    this.#changed();
  }

  #changed() {
    this.#showControls();
    this.#draw();
    this.#ask();
  }

  #move(kind, index, point) {
    if (kind === "honest") {
      const [x, y] = this.#crowd()[index];
      this.offsets.set(index, [point[0] - x, point[1] - y]);
    } else {
      // Whoever takes a colluder by the hand ends the attack where it stands.
      if (this.state.attack) {
        const stands = this.answer?.malicious ?? [];
        this.standing = this.standing.map((own, i) => (stands[i]?.[0] == null ? own : stands[i]));
        this.state.attack = "";
        this.#showControls();
      }
      this.standing[index] = point;
    }
    this.#draw();
    this.#ask();
  }

  #crowd() {
    const { n, f } = this.state;
    return crowd({ ...this.state, honest: n - f });
  }

  #honest() {
    return this.#crowd().map(([x, y], i) => {
      const [dx, dy] = this.offsets.get(i) ?? [0, 0];
      return [x + dx, y + dy];
    });
  }

  #malicious() {
    const attacked = this.state.attack && this.answer?.malicious.length === this.state.f;
    return attacked ? this.answer.malicious : this.standing;
  }

  // One question at a time; while it is out, only the newest state waits.
  async #ask() {
    if (this.asking) {
      this.waiting = true;
      return;
    }
    this.asking = true;
    const { state } = this;
    try {
      this.answer = await ask("api/aggregate", {
        honest: this.#honest(),
        malicious: this.standing,
        f: state.assumed,
        rules: state.rules,
        before: state.before,
        attack: state.attack,
        factor: state.adaptive ? "adaptive" : state.factor,
        against: state.focus,
        seed: state.seed * 1000 + state.round,
      });
      this.#trouble(this.answer.problem);
    } catch (error) {
      this.#trouble(error instanceof TypeError ? "The server has ended: start `byzflower play` again." : error.message);
    }
    this.asking = false;
    if (this.waiting) {
      this.waiting = false;
      this.#ask();
    } else {
      this.#draw();
      this.#showTable();
      this.#say();
    }
  }

  #trouble(text) {
    const trouble = byId("trouble");
    trouble.hidden = !text;
    trouble.textContent = text ?? "";
  }

  #draw() {
    this.plane.draw({
      ...this.state,
      honest: this.#honest(),
      malicious: this.#malicious(),
      answer: this.answer,
      rules: this.names,
      shown: this.state.rules,
    });
  }

  // For screen readers, once things have come to rest.
  #say() {
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => {
      const { answer, state } = this;
      if (!answer) return;
      const said = answer.rules.map((rule) => {
        if (rule.error) return `${rule.name} is not defined here`;
        return `${rule.name} ${number(rule.distance)}${isOutside(rule, answer, state.lambda) ? " (outside the ball)" : ""}`;
      });
      byId("said").textContent = `Distance to the honest mean: ${said.join(", ")}.`;
    }, 400);
  }

  #buildControls() {
    const { catalogue } = this;
    const slider = (name, label, low, high, step, help) => {
      const output = html("span", { class: "value", "aria-hidden": "true" }); // sliders say theirs
      const input = html("input", {
        id: `set-${name}`, type: "range", min: low, max: high, step, "aria-describedby": help && `help-${name}`,
        input: () => this.#change({ [name]: Number(input.value) }),
      });
      this.shows.push(() => {
        input.value = this.state[name];
        output.textContent = Number(this.state[name].toFixed(2));
      });
      return html(
        "div", { class: "control" },
        html("label", { for: `set-${name}` }, label), output, input,
        help && html("small", { id: `help-${name}` }, help),
      );
    };
    const choice = (name, label, options) => {
      const input = html(
        "select", { id: `set-${name}`, change: () => this.#change({ [name]: input.value }) },
        ...options.map(([value, text]) => html("option", { value }, text)),
      );
      const what = html("small", { id: `help-${name}` });
      input.setAttribute("aria-describedby", what.id);
      this.shows.push(() => {
        input.value = this.state[name];
        what.textContent = (name === "attack" ? catalogue.attacks : catalogue.before)[input.value]?.what ?? "";
      });
      return html("div", { class: "control" }, html("label", { for: `set-${name}` }, label), input, what);
    };
    const named = (offered) => Object.keys(offered).map((name) => [name, name]);

    this.shows = [];
    const factor = slider("factor", "factor", 0, 10, 0.1);
    const adaptive = html("input", {
      id: "set-adaptive", type: "checkbox", change: () => this.#change({ adaptive: adaptive.checked }),
    });
    const adapts = html("div", { class: "control check" }, adaptive, html("label", { for: "set-adaptive" }, "adapts to the rule in focus"));
    const shrunk = html("small", { id: "help-beta" });
    const momentum = slider("beta", "momentum β", 0, 0.99, 0.01);
    momentum.append(shrunk);
    this.shows.push(() => {
      const offered = catalogue.attacks[this.state.attack];
      factor.hidden = !offered?.factor || (this.state.adaptive && offered.adapts);
      adapts.hidden = !offered?.adapts;
      if (!offered?.adapts) this.state.adaptive = false;
      adaptive.checked = this.state.adaptive;
      factor.querySelector("label").textContent = offered?.factor ? `factor (${offered.factor})` : "factor";
      shrunk.textContent = `noise × √((1−β)/(1+β)) = ${shrinking(this.state.beta).toFixed(2)}`;
      byId("set-f").max = this.state.n - 1;
    });
    const play = html("button", { type: "button", "aria-pressed": "false", click: () => this.#run(play) }, "Run");
    byId("controls").append(
      html(
        "fieldset", {}, html("legend", {}, "The clients"),
        slider("n", "clients n", 2, catalogue.most_points, 1),
        slider("f", "of them malicious f", 0, 12, 1),
        slider("heterogeneity", "heterogeneity", 0, 2.5, 0.05),
        slider("noise", "noise of a batch", 0, 2, 0.05),
        momentum,
        html(
          "div", { class: "buttons" },
          html("button", { type: "button", click: () => this.#change({ round: this.state.round + 1 }) }, "Next round"),
          play,
          html("button", { type: "button", click: () => this.set({ ...this.state, seed: this.state.seed + 1 }) }, "Other crowd"),
        ),
      ),
      html(
        "fieldset", {}, html("legend", {}, "The attack"),
        choice("attack", "attack", [["", "by hand"], ...named(catalogue.attacks)]),
        factor, adapts,
      ),
      html(
        "fieldset", {}, html("legend", {}, "The defence"),
        choice("before", "before the rule", [["", "nothing"], ...named(catalogue.before)]),
        slider("assumed", "f that the rules assume", 0, 12, 1),
        slider("lambda", "λ of the ball", 0.05, 3, 0.05, "radius = λ × diameter of the honest points"),
      ),
      html(
        "fieldset", {}, html("legend", {}, "The view"),
        slider("reach", "half width", 3, 60, 1),
        html("div", { class: "buttons" }, html("button", { type: "button", click: () => this.set(START) }, "Start over")),
      ),
    );
    byId("controls").addEventListener("submit", (event) => event.preventDefault());
  }

  #run(button) {
    if (this.running) {
      clearInterval(this.running);
      this.running = null;
    } else {
      this.running = setInterval(() => this.#change({ round: this.state.round + 1 }), 350);
    }
    button.textContent = this.running ? "Stop" : "Run";
    button.setAttribute("aria-pressed", String(Boolean(this.running)));
  }

  #showControls() {
    this.shows.forEach((show) => show());
  }

  #buildTable() {
    this.rows = new Map();
    this.names.forEach((name, index) => {
      const shown = html("input", {
        type: "checkbox", "aria-label": `draw ${name}`,
        change: () => {
          const chosen = this.names.filter((other) => (other === name ? shown.checked : this.state.rules.includes(other)));
          this.#change({ rules: chosen, ...(shown.checked ? { focus: name } : {}) });
        },
      });
      const focus = html("button", {
        type: "button", class: "name", "aria-pressed": "false",
        click: () => this.#change({ focus: name, rules: this.names.filter((other) => other === name || this.state.rules.includes(other)) }),
      }, name);
      const error = html("td", { class: "number" });
      const lambda = html("td", { class: "number" });
      const badge = html("span", { class: "badge" }, "outside");
      const row = html("tr", { "data-rule": name }, html("th", { scope: "row" }, html("span", { class: "cell" }, shown, swatch(index), focus, badge)), error, lambda);
      this.rows.set(name, { row, shown, focus, error, lambda });
      byId("rules").append(row);
    });
  }

  #showTable() {
    const { answer, state } = this;
    const found = new Map((answer?.rules ?? []).map((rule) => [rule.name, rule]));
    for (const [name, { row, shown, focus, error, lambda }] of this.rows) {
      const rule = state.rules.includes(name) ? found.get(name) : undefined;
      const outside = Boolean(rule && !rule.error && isOutside(rule, answer, state.lambda));
      row.classList.toggle("outside", outside);
      row.classList.toggle("focused", name === state.focus);
      shown.checked = state.rules.includes(name);
      focus.setAttribute("aria-pressed", String(name === state.focus));
      focus.title = this.catalogue.rules[name].what;
      error.textContent = rule ? (rule.error ? "–" : number(rule.distance)) : "";
      lambda.textContent = rule && !rule.error ? number(rule.lambda) : "";
    }
    this.#showFocus(found.get(state.focus));
  }

  #showFocus(rule) {
    const { focus, before, assumed, f } = this.state;
    const about = this.catalogue.rules[focus];
    const promise = () => {
      if (rule?.radius != null) return `Proved here: ${rule.source}; it ${rule.distance > rule.radius + 1e-9 ? "leaves" : "stays in"} the dashed ball.`;
      if (f > assumed) return "It assumes fewer malicious clients than there are: nothing is promised.";
      return rule?.source ? `No ball is proved: ${rule.source}.` : null;
    };
    const said = [about.what, rule?.error ? `${rule.error}.` : promise(), `Needs ${about.needs || "what its members need"}. ${about.reference}.`];
    byId("focus").replaceChildren(
      html("h3", {}, before ? `${before} > ${focus}` : focus),
      ...said.filter(Boolean).map((text) => html("p", {}, text)),
    );
  }
}
