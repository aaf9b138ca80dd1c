/** What Python backends send to unmodified clients: this project, and PyPI's `pusher`. */

import { expect, test } from "vitest";

import { python } from "../live/stack.js";
import { eventually } from "../live/eventually.js";
import { fresh, guest, guestEcho, next, pusherAs, signedIn, stack, subscribed } from "./clients.js";

test("broadcast() on an encrypted channel is read with the secret of the Python endpoint", async () => {
  const channel = await subscribed(pusherAs("ada").subscribe("private-encrypted-orders.ada"));
  const heard = next(channel, "shipped");

  await python(stack, "broadcast", "private-encrypted-orders.ada", "shipped", { card: "4111", text: "Grüße" });

  expect(await heard).toEqual({ card: "4111", text: "Grüße" });
});

test("the Python endpoint gives nobody the secret of another's channel", async () => {
  const channel = pusherAs("grace").subscribe("private-encrypted-orders.ada");

  expect(await next(channel, "pusher:subscription_error")).toMatchObject({ type: "AuthError", status: 403 });
});

test("both backends derive one secret: what each encrypts is read with the answer of the other", async () => {
  const name = "private-encrypted-orders.ada";
  const byLibrary = await subscribed(guest("ada").subscribe(name));
  const byEndpoint = await subscribed(pusherAs("ada").subscribe(name));
  const heard = Promise.all([next(byLibrary, "ours"), next(byEndpoint, "theirs")]);

  await python(stack, "broadcast", name, "ours", { n: 1 });
  await python(stack, "trigger", name, "theirs", { n: 2 });

  expect(await heard).toEqual([{ n: 1 }, { n: 2 }]);
});

test("broadcast() on a cache channel is kept for whoever comes next", async () => {
  const name = fresh("cache-news");
  const early = await subscribed(guest("ada").subscribe(name));
  const published = next(early, "price");

  await python(stack, "broadcast", name, "price", { at: 1 });
  await published;

  expect(await next(guest("grace").subscribe(name), "price")).toEqual({ at: 1 });
});

test("PyPI's send_to_user reaches a signed-in pusher-js", async () => {
  const user = fresh("ada");
  const pusher = await signedIn(guest(user));
  const heard = next(pusher.user, "note");

  expect(await python(stack, "send_to_user", user, "note", { n: 1 })).toEqual({});

  expect(await heard).toEqual({ n: 1 });
});

test("PyPI's terminate_user_connections, whose route has no app in it, ends them", async () => {
  const user = fresh("ada");
  const echo = guestEcho("reverb", user);
  const { pusher } = echo.connector;
  await signedIn(pusher);

  expect(await python(stack, "terminate_user_connections", user)).toEqual({});

  await eventually(() => pusher.connection.state === "disconnected");
});
