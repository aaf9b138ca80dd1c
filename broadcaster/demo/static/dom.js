/** Small things for building the page; text goes in as text, never as HTML. */

export const $ = (id) => document.getElementById(id);

/** Make an element: `el("li", { class: "x", dataset: { kind: "event" } }, "text", child)`. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "dataset") {
      Object.assign(element.dataset, value);
    } else if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value);
    } else if (value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children);
  return element;
}

/** Keep at most `limit` children: the oldest go, wherever the list has them. */
export function bound(list, limit, { oldest = "first" } = {}) {
  while (list.children.length > limit) {
    (oldest === "first" ? list.firstElementChild : list.lastElementChild).remove();
  }
}

export function avatar(user) {
  const initials = user.name.split(/[\s-]+/).map((word) => word[0]).join("").slice(0, 2).toUpperCase();
  return el("span", { class: "avatar", "aria-hidden": "true", dataset: { hue: hue(user.id) } }, initials);
}

/** One of seven colours, the same for a user in every tab. */
export function hue(id) {
  let sum = 0;
  for (const character of id) {
    sum = (sum * 31 + character.codePointAt(0)) % 9973;
  }
  return sum % 7;
}

export function uniqueId() {
  // randomUUID exists in secure contexts only; getRandomValues everywhere.
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const ms = (duration) => `${duration < 10 ? duration.toFixed(1) : Math.round(duration)} ms`;
