// Elements without markup in strings: text from anywhere stays text.

const SVG = "http://www.w3.org/2000/svg";

export const html = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);

export const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

function fill(element, attributes = {}, children = []) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

export const byId = (id) => document.getElementById(id);

export async function ask(path, question) {
  const options = question && {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(question),
  };
  const response = await fetch(path, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

export function number(value) {
  if (value == null) return "unbounded";
  const size = Math.abs(value);
  return size >= 1e4 ? value.toExponential(1) : value.toFixed(size < 10 ? 2 : size < 100 ? 1 : 0);
}
