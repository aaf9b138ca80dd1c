/** Signed-in users under unmodified pusher-js and Echo: sign-in, server to user, watchlists, the end. */

import type Pusher from "pusher-js";
import { describe, expect, test } from "vitest";

import { eventually } from "../live/eventually.js";
import { connected, fresh, guest, guestEcho, next, pusherAs, server, signedIn, stack, subscribed } from "./clients.js";

let users = 0;

/** A user that no other test signs in as. */
function somebody(name: string): string {
  users += 1;
  return `${name}-${process.pid}-${Date.now().toString(36)}-${users}`;
}

interface WatchlistEvent {
  name: string;
  user_ids: string[];
}

/** What a client is told about those it watches. */
function watched(pusher: Pusher): WatchlistEvent[] {
  const seen: WatchlistEvent[] = [];
  for (const name of ["online", "offline"]) {
    pusher.user.watchlist.bind(name, ({ user_ids }: WatchlistEvent) => seen.push({ name, user_ids: [...user_ids].sort() }));
  }
  return seen;
}

describe("signing in", () => {
  test("makes the user known to the client", async () => {
    const ada = somebody("ada");

    const pusher = await signedIn(guest(ada));

    expect(pusher.user.user_data).toEqual({ id: ada, user_info: { name: ada } });
  });

  test("works with the Python endpoint too", async () => {
    const headers = { authorization: "Bearer ada" };
    const pusher = pusherAs("ada", {
      userAuthentication: { endpoint: `${stack.demo}/broadcasting/user-auth`, transport: "ajax", headers },
    });

    await signedIn(pusher);

    expect(pusher.user.user_data).toMatchObject({ id: "ada" });
  });

  test("is refused by the backend: the client hears pusher:signin_error", async () => {
    const pusher = guest("nobody");
    const refused = next(pusher.user, "pusher:signin_error");

    pusher.signin();

    expect(await refused).toMatchObject({ type: "AuthError", status: 403 });
  });

  test("with a forged signature is refused by the gateway with 4009", async () => {
    const pusher = guest("ada", {
      options: {
        userAuthentication: {
          transport: "ajax",
          endpoint: "",
          customHandler: (_, done) => done(null, { auth: `${stack.key}:${"0".repeat(64)}`, user_data: '{"id":"ada"}' }),
        },
      },
    });
    await connected(pusher);
    const refused = next<{ data: { code: number } }>(pusher.connection, "error");

    pusher.signin();

    expect((await refused).data.code).toBe(4009);
    expect(pusher.user.user_data).toBeNull();
  });

  test("happens again by itself after a reconnect", async () => {
    const ada = somebody("ada");
    const pusher = await signedIn(guest(ada));

    pusher.disconnect();
    await eventually(() => pusher.user.user_data === null);
    pusher.connect();

    await eventually(() => (pusher.user.user_data as { id?: string } | null)?.id === ada);
  });
});

describe("an event for a user", () => {
  test("reaches all their connections, and nobody else's", async () => {
    const [ada, grace] = [somebody("ada"), somebody("grace")];
    const [tab, phone, other] = [await signedIn(guest(ada)), await signedIn(guest(ada)), await signedIn(guest(grace))];
    const heard: string[] = [];
    const hear = (who: string, pusher: Pusher): unknown => pusher.user.bind("note", (data: unknown) => heard.push(`${who} ${String(data)}`));
    hear("tab", tab);
    hear("phone", phone);
    hear("other", other);

    await server.sendToUser(ada, "note", "for ada");
    await server.sendToUser(grace, "note", "for grace");

    await eventually(() => heard.length >= 3);
    expect(heard.sort()).toEqual(["other for grace", "phone for ada", "tab for ada"]);
  });

  test("comes once, though pusher-js subscribes to the user's channel as well", async () => {
    const ada = somebody("ada");
    const pusher = await signedIn(guest(ada));
    const heard: unknown[] = [];
    pusher.user.bind("note", (n: unknown) => heard.push(n));
    await eventually(() => pusher.user.serverToUserChannel?.subscribed);

    await server.sendToUser(ada, "note", 1);
    await server.sendToUser(ada, "note", 2);

    await eventually(() => heard.includes(2));
    expect(heard).toEqual([1, 2]);
  });

  test("does not reach somebody who only claims the channel", async () => {
    const ada = somebody("ada");
    const pusher = guest("grace");
    await connected(pusher);
    const told: unknown[] = [];
    pusher.connection.bind("message", (frame: { event: string; channel?: string }) => told.push(frame));

    expect(() => pusher.subscribe(`#server-to-user-${ada}`)).toThrow();
    pusher.send_event("pusher:subscribe", { channel: `#server-to-user-${ada}`, auth: "" });
    await eventually(() => told.length > 0);

    expect(told[0]).toMatchObject({ event: "pusher:subscription_error", channel: `#server-to-user-${ada}` });
  });
});

describe("a watchlist", () => {
  const watching = (user: string, ...others: string[]): Pusher => guest(user, { params: { watchlist: others.join() } });

  test("tells who comes online and who goes, once each, however many tabs they have", async () => {
    const [ada, grace] = [somebody("ada"), somebody("grace")];
    const watcher = watching(ada, grace);
    const seen = watched(watcher);
    await signedIn(watcher);

    const first = await signedIn(guest(grace));
    await eventually(() => seen.length === 1);
    const second = await signedIn(guest(grace));
    first.disconnect();
    await signedIn(guest(somebody("fence")));
    second.disconnect();
    await eventually(() => seen.length === 2);

    expect(seen).toEqual([
      { name: "online", user_ids: [grace] },
      { name: "offline", user_ids: [grace] },
    ]);
  });

  test("tells at sign-in who is online already", async () => {
    const [ada, grace, linus] = [somebody("ada"), somebody("grace"), somebody("linus")];
    await signedIn(guest(grace));
    const watcher = watching(ada, grace, linus);
    const seen = watched(watcher);

    await signedIn(watcher);

    await eventually(() => seen.some(({ name }) => name === "online"));
    expect(seen.filter(({ name }) => name === "online")).toEqual([{ name: "online", user_ids: [grace] }]);
  });

  test("of more than 100 is cut: signed in all the same, and told so with 4302", async () => {
    const pusher = watching(somebody("ada"), ...Array.from({ length: 101 }, (_, n) => `friend-${n}`));
    const refused = next<{ data: { code: number } }>(pusher.connection, "error");

    await signedIn(pusher);

    expect((await refused).data.code).toBe(4302);
    expect(pusher.connection.state).toBe("connected");
  });
});

describe("terminating a user's connections", () => {
  test("disconnects them for good with 4009, and nobody else", async () => {
    const [ada, grace] = [somebody("ada"), somebody("grace")];
    const [tab, phone, other] = [await signedIn(guest(ada)), await signedIn(guest(ada)), await signedIn(guest(grace))];
    const errors = [tab, phone].map((pusher) => next<{ data: { code: number } }>(pusher.connection, "error"));

    const response = await server.terminateUserConnections(ada);

    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({});
    expect((await Promise.all(errors)).map(({ data }) => data.code)).toEqual([4009, 4009]);
    await eventually(() => tab.connection.state === "disconnected" && phone.connection.state === "disconnected");
    expect(other.connection.state).toBe("connected");
  });

  test("of somebody who is not there is no error", async () => {
    expect((await server.terminateUserConnections(somebody("ada"))).status).toBe(200);
  });
});

test.each(["pusher", "reverb"] as const)("Echo's %s signs in and hears what is for its user", async (broadcaster) => {
  const ada = somebody("ada");
  const echo = guestEcho(broadcaster, ada);
  const { pusher } = echo.connector;
  await connected(pusher);
  echo.connector.signin();
  await eventually(() => pusher.user.user_data, { what: "signed in" });
  const heard = next(pusher.user, "note");

  await server.sendToUser(ada, "note", { n: 1 });

  expect(await heard).toEqual({ n: 1 });
});

test("signing in and subscribing leaves both standing", async () => {
  const pusher = await signedIn(guest(somebody("ada")));
  const name = fresh("private-orders");
  const channel = await subscribed(pusher.subscribe(name));
  const heard = next(channel, "fence");

  await server.trigger(name, "fence", 1);

  expect(await heard).toBe(1);
  expect(pusher.connection.state).toBe("connected");
});
