/** Who this tab says it is: `?as=ada`, else what it said before, else a question. */

import { $, avatar, el, hue } from "./dom.js";

const KEY = "broadcaster.demo.user";
const NAME = /^[a-z0-9][a-z0-9-]{0,23}$/;
const SUGGESTED = ["ada", "grace", "linus", "margaret"];

/** The user of this tab, or null when nobody was chosen yet. Names are ids here. */
export function currentUser() {
  const asked = new URLSearchParams(location.search).get("as")?.trim().toLowerCase();
  const id = asked && NAME.test(asked) ? asked : sessionStorage.getItem(KEY);
  if (!id || !NAME.test(id)) {
    return null;
  }
  sessionStorage.setItem(KEY, id);
  return userOf(id);
}

export function userOf(id) {
  return { id, name: id.split("-").map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join(" ") };
}

/** Show the question, and reload as the one that was chosen. */
export function askForName() {
  $("sign-in").hidden = false;
  $("suggested-names").replaceChildren(
    ...SUGGESTED.map((id) =>
      el("button", { type: "button", class: "ghost", onclick: () => become(id) }, avatar(userOf(id)), userOf(id).name),
    ),
  );
  $("sign-in-form").addEventListener("submit", (event) => {
    event.preventDefault();
    become($("name").value.trim().toLowerCase());
  });
  $("name").focus();
}

export function showUser(user) {
  $("me").hidden = false;
  $("my-avatar").textContent = avatar(user).textContent;
  $("my-avatar").dataset.hue = hue(user.id);
  $("my-name").textContent = user.name;
  document.title = `${user.name} · broadcaster demo`;
  $("change-name").addEventListener("click", () => {
    sessionStorage.removeItem(KEY);
    location.assign(location.pathname);
  });
}

/** The address of a second tab: as the next suggested name that is not us. */
export function secondTabAddress(user) {
  const other = SUGGESTED.find((id) => id !== user?.id);
  return `${location.pathname}?as=${other}`;
}

function become(id) {
  location.assign(`${location.pathname}?as=${encodeURIComponent(id)}`);
}
