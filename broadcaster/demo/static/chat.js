/** A room: who is here, what they say, who is typing, who waves at whom. */

import { $, avatar, bound, el, uniqueId } from "./dom.js";

const CHANNEL = "chat.lobby";
const MESSAGES_KEPT = 200;
const WHISPER_EVERY = 1500;
const TYPING_SHOWN = 3000;

/** Join the room; `onMembers(list)` is told whenever it changes. */
export function startChat({ echo, user, request, onMembers }) {
  const members = new Map();
  const typing = new Map();
  const wave = (member) => void request(`/wave/${member.id}`, {});

  const changed = () => {
    showMembers([...members.values()], user, wave);
    onMembers([...members.values()]);
  };

  const channel = echo
    .join(CHANNEL)
    .here((present) => {
      members.clear();
      present.forEach((member) => members.set(member.id, member));
      changed();
    })
    .joining((member) => {
      members.set(member.id, member);
      changed();
      addLine(el("li", { class: "arrival" }, `${member.name} joined`));
    })
    .leaving((member) => {
      members.delete(member.id);
      stopTyping(typing, member.id);
      changed();
      addLine(el("li", { class: "arrival" }, `${member.name} left`));
    })
    .listen("ChatMessage", (message) => {
      stopTyping(typing, message.user.id);
      if (!document.getElementById(`m-${message.id}`)) {
        addLine(messageLine(message, user));
      }
    })
    .listenForWhisper("typing", ({ id, name }) => {
      clearTimeout(typing.get(id)?.timer);
      typing.set(id, { name, timer: setTimeout(() => stopTyping(typing, id), TYPING_SHOWN) });
      showTyping(typing);
    })
    .error((error) => addLine(el("li", { class: "arrival" }, `No entry: ${error.error ?? error.type}`)));

  // For this user on whatever page they are: no channel to join, but a sign-in.
  const { pusher } = echo.connector;
  pusher.user.bind("App\\Events\\Waved", ({ by }) =>
    addLine(el("li", { class: "arrival waved" }, `${by.name} waves at you`)),
  );
  echo.connector.signin();

  $("messages").append(el("li", { class: "empty" }, "Nothing said yet. Messages are not kept."));
  $("chat-form").addEventListener("submit", (event) => {
    event.preventDefault();
    void say({ request, user });
  });
  whisperWhileTyping(channel, user);
}

async function say({ request, user }) {
  const text = $("chat-text").value.trim();
  if (!text) {
    return;
  }
  $("chat-text").value = "";
  const line = messageLine({ id: uniqueId(), user, text }, user);
  line.classList.add("pending");
  addLine(line);
  try {
    const response = await request("/chat/lobby", { id: line.id.slice(2), text });
    line.classList.toggle("refused", !response.ok);
  } catch {
    line.classList.add("refused");
  }
  line.classList.remove("pending");
  if (line.classList.contains("refused")) {
    line.append(el("span", { class: "who" }, "not sent"));
  }
}

function whisperWhileTyping(channel, user) {
  let last = -Infinity;
  $("chat-text").addEventListener("input", () => {
    const now = performance.now();
    if (now - last > WHISPER_EVERY && $("chat-text").value) {
      last = now;
      channel.whisper("typing", user);
    }
  });
}

function messageLine(message, user) {
  const mine = message.user.id === user.id;
  return el(
    "li",
    { class: `message${mine ? " mine" : ""}`, id: `m-${message.id}` },
    avatar(message.user),
    el("span", { class: "who" }, mine ? "You" : message.user.name),
    el("span", { class: "text" }, message.text),
  );
}

function addLine(line) {
  const list = $("messages");
  list.querySelector(".empty")?.remove();
  list.append(line);
  bound(list, MESSAGES_KEPT);
  list.scrollTop = list.scrollHeight;
}

function showMembers(members, user, wave) {
  $("members").replaceChildren(
    ...members.map((member) =>
      el(
        "li",
        { dataset: { user: member.id } },
        avatar(member),
        member.id === user.id ? `${member.name} (you)` : member.name,
        member.id === user.id ? "" : waveButton(member, wave),
      ),
    ),
  );
  $("member-count").textContent = members.length === 1 ? "1 person here" : `${members.length} people here`;
}

function waveButton(member, wave) {
  return el(
    "button",
    { type: "button", class: "ghost small wave", "aria-label": `Wave at ${member.name}`, onclick: () => wave(member) },
    "Wave",
  );
}

function stopTyping(typing, id) {
  clearTimeout(typing.get(id)?.timer);
  typing.delete(id);
  showTyping(typing);
}

function showTyping(typing) {
  const names = [...typing.values()].map(({ name }) => name);
  $("typing").textContent = names.length ? `${names.join(", ")} ${names.length === 1 ? "is" : "are"} typing…` : "";
}
