/** Echo, and the badge that says how it is doing. */

import { echoOptions, socketIdFetch } from "./vendor/broadcaster-client/index.js";
import { $ } from "./dom.js";

const WORDS = {
  initialized: "starting",
  connecting: "connecting",
  connected: "connected",
  unavailable: "no connection, still trying",
  failed: "no WebSocket here",
  disconnected: "disconnected",
};

/** Read where the gateway is, and connect stock Echo to it as `user`. */
export async function connect(user) {
  const response = await fetch("/config.json");
  if (!response.ok) {
    throw new Error(`GET /config.json answered ${response.status}`);
  }
  const config = await response.json();
  const scheme = config.scheme === "https" ? "wss" : "ws";
  const host = config.host ?? location.hostname;
  // The built file of Echo is a namespace object; its class is the default export.
  const echo = new window.Echo.default(
    echoOptions(`${scheme}://${host}:${config.port}/app/${encodeURIComponent(config.key)}`, {
      Pusher: window.Pusher,
      bearerToken: user.id,
      authEndpoint: "/broadcasting/auth",
    }),
  );
  followState(echo);
  return { echo, request: requester(echo, user) };
}

/** A fetch for this page's routes: says who asks, and from which socket. */
function requester(echo, user) {
  const send = socketIdFetch(echo);
  return (path, body) =>
    window.wire.record(send, path, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${user.id}` },
      body: JSON.stringify(body),
    });
}

function followState(echo) {
  const { connection } = echo.connector.pusher;
  const show = (state) => {
    $("connection").dataset.state = state;
    $("connection-text").textContent = WORDS[state] ?? state;
    $("socket-id").hidden = state !== "connected";
    $("socket-id").textContent = connection.socket_id ?? "";
  };
  connection.bind("state_change", ({ current }) => show(current));
  show(connection.state);
}
