/** Unmodified clients and the npm server library, pointed at the stack under test. */

import Echo from "laravel-echo";
import PusherServer from "pusher";
import Pusher, { type Channel, type Options } from "pusher-js";
import { afterEach, inject } from "vitest";

import { echoOptions } from "../../packages/client/src/index.js";

export const stack = inject("stack");

/** The npm server library, as a Node backend uses it. */
export const server = new PusherServer({
  appId: stack.appId,
  key: stack.key,
  secret: stack.secret,
  host: "127.0.0.1",
  port: String(stack.gatewayPort),
  useTLS: false,
});

const open: { disconnect(): void }[] = [];

afterEach(() => {
  for (const client of open.splice(0)) {
    client.disconnect();
  }
});

/** Plain pusher-js as one user of the demo. */
export function pusherAs(user: string, options: Partial<Options> = {}, key = stack.key): Pusher {
  const pusher = new Pusher(key, {
    cluster: "",
    wsHost: "127.0.0.1",
    wsPort: stack.gatewayPort,
    forceTLS: false,
    enabledTransports: ["ws"],
    channelAuthorization: {
      endpoint: `${stack.demo}/broadcasting/auth`,
      transport: "ajax",
      headers: { authorization: `Bearer ${user}` },
    },
    ...options,
  });
  open.push(pusher);
  return pusher;
}

/** Laravel Echo as one user of the demo. */
export function echoAs(user: string): Echo<"pusher"> {
  const echo = new Echo<"pusher">(
    echoOptions(`${stack.gateway}/app/${stack.key}`, {
      Pusher,
      bearerToken: user,
      authEndpoint: `${stack.demo}/broadcasting/auth`,
    }),
  );
  open.push(echo);
  return echo;
}

/** Resolve with the data of the next `event`. */
export function next<T = unknown>(
  source: { bind(event: string, callback: (data: T) => void): unknown; unbind(event: string, callback: (data: T) => void): unknown },
  event: string,
): Promise<T> {
  return new Promise((resolve) => {
    const once = (data: T): void => {
      source.unbind(event, once);
      resolve(data);
    };
    source.bind(event, once);
  });
}

/** Resolve once pusher-js is subscribed; reject with the refusal. */
export async function subscribed<C extends Channel>(channel: C): Promise<C> {
  if (!channel.subscribed) {
    const refused = next(channel, "pusher:subscription_error").then((error) => {
      throw new Error(JSON.stringify(error));
    });
    await Promise.race([next(channel, "pusher:subscription_succeeded"), refused]);
  }
  return channel;
}

export async function connected(pusher: Pusher): Promise<string> {
  if (pusher.connection.state !== "connected") {
    await next(pusher.connection, "connected");
  }
  return pusher.connection.socket_id;
}

let counter = 0;

/** A channel name that no other test uses. */
export function fresh(prefix: string): string {
  counter += 1;
  return `${prefix}-${process.pid}-${Date.now().toString(36)}-${counter}`;
}
