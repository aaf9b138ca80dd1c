/** Unmodified clients and the npm server library, pointed at the stack under test. */

import Echo from "laravel-echo";
import type PusherServer from "pusher";
import Pusher, { type Channel, type Options } from "pusher-js";
import { afterEach, inject } from "vitest";

import { echoOptions } from "../../packages/client/src/index.js";
import { serverLibrary } from "../live/backend.js";
import { eventually } from "../live/eventually.js";

export const stack = inject("stack");

/** The npm server library, as a Node backend uses it. */
export const server = serverLibrary(stack);

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

/** pusher-js as one user of the Node backend, whose answers the npm library signs. */
export function guest(user: string, more: { params?: Record<string, string>; options?: Partial<Options> } = {}): Pusher {
  const asked = { transport: "ajax" as const, params: more.params ?? {}, headers: { authorization: `Bearer ${user}` } };
  return pusherAs(user, {
    channelAuthorization: { endpoint: `${stack.backend}/pusher/auth`, ...asked },
    userAuthentication: { endpoint: `${stack.backend}/pusher/user-auth`, ...asked },
    ...more.options,
  });
}

/** pusher-js whose presence subscriptions are signed with this member, whatever it is. */
export function memberAs(member: object): Pusher {
  return pusherAs("ada", {
    channelAuthorization: {
      transport: "ajax",
      endpoint: "",
      customHandler: ({ socketId, channelName }, done) =>
        done(null, server.authorizeChannel(socketId, channelName, member as PusherServer.PresenceChannelData)),
    },
  });
}

/** Sign in; resolve when the gateway has said yes. */
export async function signedIn(pusher: Pusher): Promise<Pusher> {
  pusher.signin();
  await eventually(() => pusher.user.user_data, { what: "signed in" });
  return pusher;
}

/** Laravel Echo as one user of the Node backend. */
export function guestEcho<B extends "pusher" | "reverb">(broadcaster: B, user: string): Echo<B> {
  const echo = new Echo<B>({
    broadcaster,
    Pusher,
    key: stack.key,
    cluster: "", // "reverb" puts it there by itself
    wsHost: "127.0.0.1",
    wsPort: stack.gatewayPort,
    forceTLS: false,
    enabledTransports: ["ws", "wss"],
    authEndpoint: `${stack.backend}/broadcasting/auth`,
    userAuthentication: { endpoint: `${stack.backend}/broadcasting/user-auth`, headers: {} },
    bearerToken: user,
  } as unknown as ConstructorParameters<typeof Echo<B>>[0]);
  open.push(echo);
  return echo;
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
