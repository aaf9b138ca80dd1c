/** Authorizations that end, or are taken back, under unmodified pusher-js. */

import type Pusher from "pusher-js";
import { expect, test } from "vitest";

import { eventually } from "../live/eventually.js";
import { fresh, next, pusherAs, server, subscribed } from "./clients.js";

/** pusher-js with an endpoint that signs for `ttl` seconds and counts how often it is asked. */
function signedFor(ttl: number): { pusher: Pusher; asked: () => number } {
  let asked = 0;
  const pusher = pusherAs("ada", {
    channelAuthorization: {
      transport: "ajax",
      endpoint: "",
      customHandler: ({ socketId, channelName }, done) => {
        asked += 1;
        const now = Math.floor(Date.now() / 1000);
        const claims = { user_id: "ada", broadcaster: { iat: now, exp: now + ttl } };
        done(null, server.authorizeChannel(socketId, channelName, claims));
      },
    },
  });
  return { pusher, asked: () => asked };
}

test("a subscription outlives its authorization: the client comes back with a fresh one", async () => {
  const { pusher, asked } = signedFor(9);
  const name = `private-${fresh("orders")}`;
  const channel = await subscribed(pusher.subscribe(name));
  const errors: unknown[] = [];
  channel.bind("pusher:subscription_error", (error: unknown) => errors.push(error));
  const first = pusher.connection.socket_id;

  await next(channel, "pusher:subscription_succeeded");
  const heard = next(channel, "shipped");
  await server.trigger(name, "shipped", { id: 7 });

  expect(await heard).toEqual({ id: 7 });
  expect(pusher.connection.socket_id).not.toBe(first);
  expect(errors).toEqual([]);
  expect(asked()).toBe(2);
});

test("an authorization that is too short for that ends, and the client comes back after it", async () => {
  const { pusher, asked } = signedFor(4);
  const channel = await subscribed(pusher.subscribe(`private-${fresh("orders")}`));

  const refusal = await next(channel, "pusher:subscription_error");
  expect(refusal).toMatchObject({ type: "AuthError", status: 401, code: "auth_expired" });
  await eventually(() => channel.subscribed && asked() === 2);
});
