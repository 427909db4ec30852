// Eight steps from "why the mean breaks" to ARC: a scene each, what to see and what to try.

import { byId, html } from "./dom.js";

const STEPS = [
  {
    title: "Why the mean breaks",
    see: "Five clients have computed an update each; the server averages them. A sixth is malicious. However many are honest, it alone decides where the average lands: it needs to be n times as far away as it wants to push.",
    tryThis: "Drag the triangle down to the left and watch the mean follow it out of the ball.",
    scene: { n: 6, f: 1, heterogeneity: 0.4, noise: 0.3, rules: ["mean"], focus: "mean", lambda: 0.5, malicious: [[0.5, 0.5]] },
  },
  {
    title: "A median does not shout back",
    see: "The coordinate-wise median sorts the values of each axis and takes the middle one; the trimmed mean drops the f largest and smallest and averages the rest. A point at any distance counts no more than one at the rim.",
    tryThis: "Drag the triangle across the plane: the median moves a little while it crosses the crowd, and not at all beyond.",
    scene: { n: 11, f: 1, rules: ["mean", "median", "trimmed_mean"], focus: "median", malicious: [[-4, -3]] },
  },
  {
    title: "The breakdown point",
    see: "Five of eleven are malicious, and the median still stands among the honest. With half of all it could not: nobody can tell then which half is honest, and so n ≥ 2f + 1 is what most rules need. Krum asks for more, n ≥ 2f + 3.",
    tryThis: "Raise f to 6: the rules refuse. Then lower “f that the rules assume”: they answer again, and wrongly.",
    scene: { n: 11, f: 5, rules: ["median", "trimmed_mean", "krum"], focus: "median", noise: 0.4, heterogeneity: 0.5 },
  },
  {
    title: "A little is enough",
    see: "ALIE sends the honest mean plus a few standard deviations: no outlier, nothing to filter, and the same way every round. Each rule errs a little in the same direction, and over many rounds a little is enough.",
    tryThis: "Move the factor from 0 to 3 and watch Krum: the attack does most harm just before it no longer passes for honest. Then let it adapt to the rule in focus.",
    scene: { n: 13, f: 4, attack: "alie", factor: 1.5, rules: ["mean", "median", "trimmed_mean", "krum"], focus: "krum", lambda: 0.5 },
  },
  {
    title: "What can be promised",
    see: "Malicious points can pass for honest ones, so no rule hits the honest mean. A resilient one errs by at most λ times the diameter of the honest points (RESAM, Definition 2): the shaded ball. Where λ is proved for the rule in focus, the dashed ball shows it.",
    tryThis: "Try to drag the triangles so that the rule in focus leaves its dashed ball. If you can, a theorem is wrong.",
    scene: { n: 13, f: 3, rules: ["median", "trimmed_mean", "mda", "geometric_median"], focus: "mda", lambda: 0.5 },
  },
  {
    title: "Different data, larger ball",
    see: "Clients whose data differ send updates that differ, and the ball grows with them: heterogeneity is where attackers hide. Nearest-neighbour mixing (NNM) first replaces every update by the average of its n − f nearest; what remains lies closer together (hollow dots).",
    tryThis: "Set “before the rule” to nothing and back to nnm: compare the errors. Then raise the heterogeneity.",
    scene: { n: 13, f: 3, heterogeneity: 1.6, noise: 0.3, attack: "foe", factor: 2, before: "nnm", rules: ["median", "trimmed_mean", "krum"], focus: "trimmed_mean" },
  },
  {
    title: "Momentum shrinks the cloud",
    see: "The other part of the spread is noise of the batches, new in every round. A client that sends its momentum, βm + (1 − β)g, averages it away: by √((1−β)/(1+β)). With the cloud the ball shrinks, and every rule errs less. This is why momentum makes robustness work.",
    tryThis: "Press Run, then move β from 0 to 0.95 and watch cloud, ball and errors.",
    scene: { n: 13, f: 3, heterogeneity: 0.25, noise: 1.4, attack: "alie", factor: 1.5, rules: ["median", "trimmed_mean", "krum"], focus: "trimmed_mean", lambda: 0.5 },
  },
  {
    title: "ARC: clip as much as needed",
    see: "Clipping bounds how far anybody can pull. A fixed bound fits one scale only, and loses the promise: where all honest updates agree beyond it, the rule still errs. Adaptive robust clipping (ARC) takes the norm of the (k+1)-th longest update, k = ⌊2(f/n)(n−f)⌋; it keeps the promise. “arc > nnm > trimmed_mean” is this library's default.",
    tryThis: "Compare “arc > nnm” with “clip(c=2.0)” and with nothing; raise the factor to 10. Then try every attack against it.",
    scene: { n: 13, f: 3, heterogeneity: 1, noise: 0.4, attack: "foe", factor: 3, before: "arc > nnm", rules: ["mean", "median", "trimmed_mean"], focus: "trimmed_mean" },
  },
];

export class Tour {
  constructor(playground) {
    this.playground = playground;
    this.step = 0;
  }

  show(step = this.step) {
    this.step = step;
    const { title, see, tryThis, scene } = STEPS[step];
    const go = (to, text, kind) =>
      html("button", { type: "button", class: kind, disabled: !STEPS[to], click: () => this.#go(to) }, text);
    const dots = STEPS.map(({ title: name }, i) =>
      html("li", {}, html("button", {
        type: "button", class: "dot", "aria-label": `Step ${i + 1}: ${name}`,
        "aria-current": i === step ? "step" : null, click: () => this.#go(i),
      }, String(i + 1))),
    );
    byId("card").replaceChildren(
      html("p", { class: "count" }, `Step ${step + 1} of ${STEPS.length}`),
      html("h2", { id: "step-title", tabindex: -1 }, title),
      html("p", {}, see),
      html("p", { class: "try" }, html("strong", {}, "Try: "), tryThis),
      html(
        "div", { class: "steps" },
        go(step - 1, "Back"), html("ol", { "aria-label": "Steps of the tour" }, ...dots), go(step + 1, "Next", "primary"),
      ),
    );
    this.playground.set(scene);
  }

  #go(step) {
    this.show(step);
    byId("step-title").focus({ preventScroll: true });
    byId("card").scrollIntoView({ block: "nearest" });
  }
}
