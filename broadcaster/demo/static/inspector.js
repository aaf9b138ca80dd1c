/** The wire inspector: every frame of this tab, unwrapped, with the code behind it. */

import { $, bound, el } from "./dom.js";
import { explain } from "./snippets.js";

const KEPT = 300;
const GIST = 160;

const KINDS = {
  event: "events",
  whisper: "whispers",
  presence: "presence",
  subscribe: "subscriptions",
  system: "system",
  http: "HTTP",
};
const ARROWS = { in: "↓", out: "↑", note: "·" };
const SPOKEN = { in: "received", out: "sent", note: "note" };

export function startInspector(wire) {
  const hidden = new Set();
  const held = [];
  let paused = false;
  let total = 0;

  const add = (entry) => {
    const item = frameItem(entry);
    item.hidden = !matches(item, hidden);
    $("frames").prepend(item);
    bound($("frames"), KEPT, { oldest: "last" });
    count();
  };
  const count = () => {
    const waiting = held.length ? `, ${held.length} waiting` : "";
    $("wire-count").textContent = `${total} ${total === 1 ? "entry" : "entries"}${waiting}`;
  };
  const refilter = () => {
    for (const item of $("frames").children) {
      item.hidden = !matches(item, hidden);
    }
  };

  wire.addEventListener("entry", ({ detail }) => {
    const entry = read(detail);
    total += 1;
    if (!paused) {
      add(entry);
      return;
    }
    held.push(entry);
    if (held.length > KEPT) {
      held.shift();
    }
    count();
  });

  $("pause").addEventListener("click", () => {
    paused = !paused;
    $("pause").setAttribute("aria-pressed", String(paused));
    $("pause").textContent = paused ? "Resume" : "Pause";
    if (!paused) {
      held.splice(0).forEach(add);
    }
  });
  $("clear").addEventListener("click", () => {
    $("frames").replaceChildren();
    held.length = 0;
    total = 0;
    count();
  });
  $("wire-filter").addEventListener("input", refilter);
  $("kinds").replaceChildren(...Object.entries(KINDS).map(([kind, label]) => kindButton(kind, label, hidden, refilter)));
}

function kindButton(kind, label, hidden, refilter) {
  const button = el(
    "button",
    { type: "button", "aria-pressed": "true", dataset: { kind } },
    el("span", { class: "swatch", "aria-hidden": "true" }),
    el("span", { class: "label" }, label),
  );
  button.addEventListener("click", () => {
    const shown = hidden.delete(kind);
    if (!shown) {
      hidden.add(kind);
    }
    button.setAttribute("aria-pressed", String(shown));
    refilter();
  });
  return button;
}

function matches(item, hidden) {
  const wanted = $("wire-filter").value.trim().toLowerCase();
  return !hidden.has(item.dataset.kind) && item.dataset.text.includes(wanted);
}

/** What was recorded, understood: name, channel, kind, and the data without its wrappings. */
function read(entry) {
  if (entry.transport === "http") {
    const name = `${entry.method} ${entry.path}${entry.status === undefined ? "" : ` → ${entry.status}`}`;
    return { ...entry, kind: "http", name, body: unwrap(formOrJson(entry.text)) };
  }
  if (entry.direction === "note") {
    return { ...entry, kind: "system", name: entry.text, body: undefined };
  }
  const frame = parse(entry.text);
  if (typeof frame !== "object" || frame === null) {
    return { ...entry, kind: "system", name: "not JSON", body: entry.text };
  }
  const channel = frame.channel ?? unwrap(frame.data)?.channel;
  return { ...entry, kind: kindOf(frame.event, channel), name: frame.event, channel, body: unwrap(frame) };
}

function kindOf(name, channel = "") {
  if (name.startsWith("client-")) {
    return "whisper";
  }
  if (/member_(added|removed)$/.test(name) || (name.endsWith("subscription_succeeded") && channel.startsWith("presence-"))) {
    return "presence";
  }
  if (/:(un)?subscri/.test(name)) {
    return "subscribe";
  }
  return name.startsWith("pusher:") || name.startsWith("pusher_internal:") ? "system" : "event";
}

/** Pusher puts JSON into strings inside JSON: take every layer off. */
function unwrap(value) {
  if (typeof value === "string") {
    const inner = /^\s*[[{]/.test(value) ? parse(value) : value;
    return typeof inner === "string" ? inner : unwrap(inner);
  }
  if (Array.isArray(value)) {
    return value.map(unwrap);
  }
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unwrap(inner)]));
  }
  return value;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function formOrJson(text) {
  return /^[\w.]+=/.test(text) ? Object.fromEntries(new URLSearchParams(text)) : text;
}

function frameItem(entry) {
  const { name, channel, kind, direction, body } = entry;
  const inner = body?.data ?? body;
  const gist = inner === undefined ? "" : typeof inner === "string" ? inner : JSON.stringify(inner);
  const details = el(
    "details",
    {},
    el(
      "summary",
      {},
      el("span", { class: "arrow" }, el("span", { "aria-hidden": "true" }, ARROWS[direction]), el("span", { class: "unseen" }, SPOKEN[direction])),
      el("span", {}, el("span", { class: "name" }, name), channel ? el("span", { class: "where" }, channel) : ""),
      el("time", { class: "when" }, clock(entry.time)),
      el("span", { class: "gist" }, gist.slice(0, GIST)),
    ),
  );
  // The body is made when it is first opened: most never are.
  details.addEventListener("toggle", () => details.append(bodyOf(entry)), { once: true });
  return el(
    "li",
    {
      class: "frame fresh",
      dataset: { kind, direction, event: name, text: `${name} ${channel ?? ""} ${gist}`.toLowerCase() },
    },
    details,
  );
}

function bodyOf(entry) {
  const { why, python, js } = explain(entry);
  const data = typeof entry.body === "string" ? entry.body : JSON.stringify(entry.body, null, 2);
  const code = el("div", {});
  if (python) {
    code.append(figure("Python", python));
  }
  if (js) {
    code.append(figure("JavaScript", js));
  }
  return el(
    "div",
    { class: "body" },
    el("p", { class: "why" }, why),
    data ? figure(`Unwrapped, ${entry.text.length} on the wire`, data) : "",
    code,
  );
}

function figure(caption, code) {
  return el("figure", {}, el("figcaption", {}, caption), el("pre", {}, el("code", {}, ...coloured(code))));
}

// Comment, string, decorator, keyword, number: enough for a few lines of Python, JS or JSON.
const TOKENS =
  /(?<c>(?:#|\/\/) .*)|(?<s>f?"[^"\n]*"|`[^`]*`)|(?<d>^@\w+)|(?<k>\b(?:class|def|return|await|async|const|true|false|null|new)\b)|(?<n>\b\d+(?:\.\d+)?\b)/gm;

function* coloured(code) {
  let end = 0;
  for (const match of code.matchAll(TOKENS)) {
    yield code.slice(end, match.index);
    const [kind] = Object.entries(match.groups).find(([, text]) => text !== undefined);
    yield el("span", { class: kind }, match[0]);
    end = match.index + match[0].length;
  }
  yield code.slice(end);
}

function clock(time) {
  return `${time.toLocaleTimeString("en-GB")}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}
