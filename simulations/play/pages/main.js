// Which view is shown, in which colours.

import { ask, byId } from "./dom.js";
import { Playground } from "./playground.js";
import { Replay } from "./replay.js";
import { Tour } from "./tour.js";

const VIEWS = ["plane", "tour", "replay"];

function chooseColours() {
  const button = byId("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const show = (isDark) => {
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    button.setAttribute("aria-pressed", String(isDark));
  };
  show(dark.matches);
  dark.addEventListener("change", () => show(dark.matches));
  button.addEventListener("click", () => show(document.documentElement.dataset.theme !== "dark"));
}

async function start() {
  chooseColours();
  const playground = new Playground(await ask("api/catalogue"));
  const tour = new Tour(playground);
  const replay = new Replay();
  let last = null;
  const route = () => {
    const asked = location.hash.slice(1);
    if (last && !VIEWS.includes(asked)) return; // a place in the view, such as #content
    const view = VIEWS.includes(asked) ? asked : "plane";
    if (view === last) return;
    for (const link of document.querySelectorAll("nav a")) {
      link.toggleAttribute("aria-current", link.hash === `#${view}`);
      if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    }
    byId("playground").hidden = view === "replay";
    byId("recordings").hidden = view !== "replay";
    byId("card").hidden = view !== "tour";
    document.title = `${view[0].toUpperCase()}${view.slice(1)} · byzflower play`;
    if (view === "tour") tour.show();
    if (view === "plane" && last === "tour") playground.set({});
    if (view === "replay") replay.show();
    last = view;
  };
  addEventListener("hashchange", route);
  route();
}

start().catch((error) => {
  byId("trouble").hidden = false;
  byId("trouble").textContent = error.message;
});
