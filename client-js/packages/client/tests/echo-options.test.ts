import { expect, test } from "vitest";

import { echoOptions } from "../src/index.js";

test("one address becomes everything that Echo needs", () => {
  expect(echoOptions("ws://127.0.0.1:8080/app/demo-key")).toEqual({
    broadcaster: "pusher",
    key: "demo-key",
    cluster: "",
    wsHost: "127.0.0.1",
    wsPort: 8080,
    wssPort: 8080,
    wsPath: "",
    forceTLS: false,
    enabledTransports: ["ws", "wss"],
  });
});

test.each([
  ["wss://ws.example.com/app/k", 443, true],
  ["https://ws.example.com/app/k", 443, true],
  ["ws://ws.example.com/app/k", 80, false],
  ["http://ws.example.com:6001/app/k/", 6001, false],
])("%s means port %i, TLS %s", (address, port, tls) => {
  expect(echoOptions(address)).toMatchObject({ key: "k", wsPort: port, wssPort: port, forceTLS: tls });
});

test("a prefix before /app becomes wsPath", () => {
  expect(echoOptions("wss://example.com/realtime/app/k").wsPath).toBe("/realtime");
});

test("overrides are added and win", () => {
  const options = echoOptions("ws://h/app/k", { bearerToken: "ada", cluster: "eu" });

  expect(options).toMatchObject({ bearerToken: "ada", cluster: "eu", key: "k" });
});

test.each(["ws://h", "ws://h/app/", "ws://h/apps/k", "ftp://h/app/k"])(
  "%s is refused with an example of a good one",
  (address) => {
    expect(() => echoOptions(address)).toThrow(/write it like "wss:/);
  },
);
