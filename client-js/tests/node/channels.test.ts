/** Every kind of channel under unmodified pusher-js and Echo, published to by the npm library. */

import type { Channel } from "pusher-js";
import { expect, test } from "vitest";

import { eventually } from "../live/eventually.js";
import { fresh, guest, guestEcho, next, server, subscribed } from "./clients.js";

const KINDS = [
  "news",
  "privateer", // no dash behind "private": public
  "private-orders",
  "private-encrypted-orders",
  "presence-room",
  "cache-news",
  "private-cache-orders",
  "private-encrypted-cache-orders",
  "presence-cache-room",
];
const CACHES = KINDS.filter((kind) => /^(?:\w+-)*cache-/.test(kind));

/** What a channel hears but for its subscription, in order. */
function hears(channel: Channel): [string, unknown][] {
  const heard: [string, unknown][] = [];
  channel.bind_global((event: string, data: unknown) => {
    if (!event.startsWith("pusher:subscription_")) {
      heard.push([event, data]);
    }
  });
  return heard;
}

test.each(KINDS)("a channel like %s is entered and delivers what is published", async (kind) => {
  const name = fresh(kind);
  const channel = guest("ada").subscribe(name);
  const heard = hears(channel);
  await subscribed(channel);

  await server.trigger(name, "shipped", { id: 7, text: "Grüße" });

  await eventually(() => heard.some(([event]) => event === "shipped"));
  expect(heard.filter(([event]) => event === "shipped")).toEqual([["shipped", { id: 7, text: "Grüße" }]]);
});

test.each(KINDS.filter((kind) => kind.startsWith("private-") || kind.startsWith("presence-")))(
  "a channel like %s is refused when the backend refuses",
  async (kind) => {
    const channel = guest("ada").subscribe(fresh(`${kind}-denied`));

    expect(await next(channel, "pusher:subscription_error")).toMatchObject({ type: "AuthError", status: 403 });
  },
);

test.each(CACHES)("a channel like %s greets with its last event, published while nobody was there", async (kind) => {
  const name = fresh(kind);
  await server.trigger(name, "price", { at: 1 });
  await server.trigger(name, "price", { at: 2 });

  const channel = guest("ada").subscribe(name);
  const heard = hears(channel);
  let heardAtSuccess = -1;
  channel.bind("pusher:subscription_succeeded", () => (heardAtSuccess = heard.length));
  await eventually(() => heard.length > 0);
  await server.trigger(name, "fence", {});
  await eventually(() => heard.some(([event]) => event === "fence"));

  expect(heard).toEqual([["price", { at: 2 }], ["fence", {}]]);
  expect(heardAtSuccess).toBe(0);
});

test.each(CACHES)("a channel like %s without an event says pusher:cache_miss", async (kind) => {
  const channel = guest("ada").subscribe(fresh(kind));
  const heard = hears(channel);
  const missed = next(channel, "pusher:cache_miss");
  await subscribed(channel);

  expect(await missed).toEqual({});
  expect(heard.map(([event]) => event)).toEqual(["pusher:cache_miss"]);
});

test("a cache channel keeps its last event after everybody has left", async () => {
  const name = fresh("cache-news");
  const first = guest("ada");
  await subscribed(first.subscribe(name));
  await server.trigger(name, "price", { at: 1 });
  first.disconnect();
  await eventually(async () => {
    const response = await server.get({ path: `/channels/${name}` });
    return !((await response.json()) as { occupied: boolean }).occupied;
  });

  expect(await next(guest("grace").subscribe(name), "price")).toEqual({ at: 1 });
});

test("client events are not cached", async () => {
  const name = fresh("private-cache-orders");
  const [ada, grace] = [guest("ada").subscribe(name), guest("grace").subscribe(name)];
  await Promise.all([subscribed(ada), subscribed(grace)]);
  const heard = next(grace, "client-typing");
  ada.trigger("client-typing", {});
  await heard;

  await next(guest("linus").subscribe(name), "pusher:cache_miss");
});

test("a public channel without the word cache has no cache and no miss", async () => {
  const name = fresh("news");
  await server.trigger(name, "old", {});
  const channel = guest("ada").subscribe(name);
  const heard = hears(channel);
  await subscribed(channel);
  await server.trigger(name, "new", {});

  await eventually(() => heard.length > 0);
  expect(heard).toEqual([["new", {}]]);
});

test("what is published on an encrypted channel is unreadable without its key", async () => {
  const name = fresh("private-encrypted-orders");
  const pusher = guest("ada");
  const frames: { event: string; channel?: string; data: unknown }[] = [];
  pusher.connection.bind("message", (frame: (typeof frames)[number]) => frames.push(frame));
  const channel = await subscribed(pusher.subscribe(name));
  const heard = next(channel, "shipped");

  await server.trigger(name, "shipped", { card: "4111" });

  expect(await heard).toEqual({ card: "4111" });
  const frame = frames.find(({ event }) => event === "shipped");
  expect(Object.keys(frame?.data as object).sort()).toEqual(["ciphertext", "nonce"]);
  expect(JSON.stringify(frame)).not.toContain("4111");
});

test("a client whose key is too old asks for a new one, once an event", async () => {
  let asked = 0;
  const name = fresh("private-encrypted-orders");
  const channel = await subscribed(
    guest("ada", {
      options: {
        channelAuthorization: {
          transport: "ajax",
          endpoint: "",
          customHandler: ({ socketId, channelName }, done) => {
            asked += 1;
            const answer = server.authorizeChannel(socketId, channelName);
            const old = Buffer.alloc(32).toString("base64");
            done(null, asked === 1 ? { ...answer, shared_secret: old } : answer);
          },
        },
      },
    }).subscribe(name),
  );
  const heard = next(channel, "shipped");

  await server.trigger(name, "shipped", { id: 7 });

  expect(await heard).toEqual({ id: 7 });
  expect(asked).toBe(2);
});

test("subscribers of a channel are told how many they are", async () => {
  const name = fresh("news");
  const [first, second] = [guest("ada"), guest("grace")];
  const channel = first.subscribe(name);
  const counts: number[] = [];
  channel.bind("pusher:subscription_count", (data: { subscription_count: number }) => {
    counts.push(data.subscription_count);
  });
  await eventually(() => counts.includes(1));

  await subscribed(second.subscribe(name));
  await eventually(() => counts.at(-1) === 2);
  expect(channel.subscriptionCount).toBe(2);

  second.unsubscribe(name);
  await eventually(() => counts.at(-1) === 1);
  expect(channel.subscriptionCount).toBe(1);
});

test("presence channels are not told how many subscribers they have", async () => {
  const name = fresh("presence-room");
  const channel = await subscribed(guest("ada").subscribe(name));
  const heard: string[] = [];
  channel.bind_global((event: string) => heard.push(event));

  await subscribed(guest("grace").subscribe(name));
  await eventually(() => heard.length > 0);
  await server.trigger(name, "fence", {});
  await eventually(() => heard.includes("fence"));

  expect(heard).toEqual(["pusher:member_added", "fence"]);
});

test.each(["pusher", "reverb"] as const)("Echo's broadcaster %s hears every kind of channel", async (broadcaster) => {
  const echo = guestEcho(broadcaster, "ada");
  const heard: string[] = [];
  const names = ["news", "cache-news", "orders", "cache-orders", "vault", "room"].map(fresh);
  const [news, cached, orders, privateCached, vault, room] = names as [string, string, string, string, string, string];
  const hear = (name: string) => (event: { text: string }) => heard.push(`${name} ${event.text}`);
  const missed: string[] = [];
  const joined: string[] = [];
  await Promise.all(
    [
      echo.channel(news),
      echo.channel(cached).listen(".pusher:cache_miss", () => missed.push(cached)),
      echo.private(orders),
      echo.private(privateCached),
      echo.encryptedPrivate(vault),
      echo.join(room).here((users: { name: string }[]) => joined.push(...users.map(({ name }) => name))),
    ].map(
      (channel, index) =>
        new Promise<void>((done, fail) => {
          channel.listen("Told", hear(names[index] ?? ""));
          channel.subscribed(() => done());
          channel.error((error: unknown) => fail(new Error(JSON.stringify(error))));
        }),
    ),
  );

  const wire = [news, cached, `private-${orders}`, `private-${privateCached}`, `private-encrypted-${vault}`, `presence-${room}`];
  for (const [index, name] of wire.entries()) {
    await server.trigger(name, "App\\Events\\Told", { text: String(index) });
  }

  await eventually(() => heard.length >= wire.length);
  expect(heard.sort()).toEqual(names.map((name, index) => `${name} ${index}`).sort());
  expect(missed).toEqual([cached]);
  expect(joined).toEqual(["ada"]);
});
