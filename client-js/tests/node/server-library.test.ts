/** The unmodified npm library `pusher` on our HTTP API. */

import PusherServer from "pusher";
import { expect, test } from "vitest";

import { eventually } from "../live/eventually.js";
import { connected, fresh, guest, next, pusherAs, server, stack, subscribed } from "./clients.js";

async function read(path: string, params?: Record<string, string>): Promise<unknown> {
  const response = await server.get(params ? { path, params } : { path });
  return response.json();
}

test("trigger answers 200 with an empty object", async () => {
  const response = await server.trigger(fresh("news"), "headline", { a: 1 });

  expect(response.status).toBe(200);
  expect(await response.json()).toEqual({});
});

test("one trigger reaches several channels", async () => {
  const names = [fresh("a"), fresh("b")];
  const pusher = pusherAs("ada");
  const channels = await Promise.all(names.map((name) => subscribed(pusher.subscribe(name))));
  const heard = Promise.all(channels.map((channel) => next(channel, "both")));

  await server.trigger(names, "both", "text");

  expect(await heard).toEqual(["text", "text"]);
});

test("a batch delivers each of its events", async () => {
  const name = fresh("batch");
  const channel = await subscribed(pusherAs("ada").subscribe(name));
  const heard: string[] = [];
  channel.bind_global((event: string) => heard.push(event));

  await server.triggerBatch([
    { channel: name, name: "first", data: {} },
    { channel: name, name: "second", data: {} },
  ]);

  await eventually(() => heard.includes("second"));
  expect(heard.filter((event) => !event.startsWith("pusher:"))).toEqual(["first", "second"]);
});

test("socket_id leaves that connection out", async () => {
  const name = fresh("others");
  const [left, other] = [pusherAs("ada"), pusherAs("grace")];
  const mine = await subscribed(left.subscribe(name));
  const theirs = await subscribed(other.subscribe(name));
  const heard: unknown[] = [];
  mine.bind("said", (data: unknown) => heard.push(data));

  const arrived = next(theirs, "said");
  await server.trigger(name, "said", 1, { socket_id: await connected(left) });
  await arrived;
  const fence = next(mine, "fence");
  await server.trigger(name, "fence", {});
  await fence;

  expect(heard).toEqual([]);
});

test("channels are listed with their user counts", async () => {
  const room = `presence-chat.${fresh("l")}`.slice(0, 37);
  await subscribed(pusherAs("ada").subscribe(room));
  await subscribed(pusherAs("grace").subscribe(room));

  const listed = await read("/channels", { filter_by_prefix: "presence-", info: "user_count" });
  expect((listed as { channels: Record<string, unknown> }).channels[room]).toEqual({ user_count: 2 });

  const one = await read(`/channels/${room}`, { info: "user_count,subscription_count" });
  expect(one).toMatchObject({ occupied: true, user_count: 2, subscription_count: 2 });
});

test("users of a presence channel are listed", async () => {
  const room = `presence-chat.${fresh("u")}`.slice(0, 37);
  await subscribed(pusherAs("ada").subscribe(room));
  await subscribed(pusherAs("grace").subscribe(room));

  const { users } = (await read(`/channels/${room}/users`)) as { users: { id: string }[] };

  expect(users.map(({ id }) => id).sort()).toEqual(["ada", "grace"]);
});

test("an empty channel is not occupied", async () => {
  expect(await read(`/channels/${fresh("empty")}`)).toMatchObject({ occupied: false });
});

test("a trigger that asks for info is answered with it, channel by channel", async () => {
  const [room, news] = [fresh("presence-room"), fresh("news")];
  await subscribed(guest("ada").subscribe(room));
  await subscribed(guest("grace").subscribe(room));
  await subscribed(guest("ada").subscribe(news));

  const response = await server.trigger([room, news], "said", {}, { info: "user_count,subscription_count" });

  expect(await response.json()).toEqual({
    channels: { [room]: { user_count: 2, subscription_count: 2 }, [news]: { subscription_count: 1 } },
  });
});

test("a batch that asks for info is answered in its own order", async () => {
  const [room, news] = [fresh("presence-room"), fresh("news")];
  await subscribed(guest("ada").subscribe(room));

  const response = await server.triggerBatch([
    { channel: news, name: "a", data: {} },
    { channel: room, name: "b", data: {}, info: "user_count" },
    { channel: news, name: "c", data: {}, info: "subscription_count" },
  ]);

  expect(await response.json()).toEqual({ batch: [{}, { user_count: 1 }, { subscription_count: 0 }] });
});

test("a batch with one bad event delivers none of them", async () => {
  const name = fresh("batch");
  const channel = await subscribed(guest("ada").subscribe(name));
  const heard: string[] = [];
  channel.bind_global((event: string) => heard.push(event));

  await expect(
    server.triggerBatch([
      { channel: name, name: "good", data: {} },
      { channel: name, name: "bad", data: "x".repeat(11_000) },
    ]),
  ).rejects.toMatchObject({ status: 413 });
  await server.trigger(name, "fence", {});
  await eventually(() => heard.includes("fence"));

  expect(heard).not.toContain("good");
});

test("a batch encrypts what goes to encrypted channels", async () => {
  const name = fresh("private-encrypted-orders");
  const channel = await subscribed(guest("ada").subscribe(name));
  const heard = next(channel, "shipped");

  await server.triggerBatch([{ channel: name, name: "shipped", data: { id: 7 } }]);

  expect(await heard).toEqual({ id: 7 });
});

test("one event for an encrypted channel and another is refused, whoever sends it", async () => {
  const names = [fresh("private-encrypted-orders"), fresh("news")];

  await expect((async () => server.trigger(names, "e", {}))()).rejects.toThrow("encrypted channels");
  const raw = { name: "e", data: "{}", channels: names };
  // The library encodes bodies itself, whatever its types say.
  await expect(server.post({ path: "/events", body: raw as unknown as string })).rejects.toMatchObject({ status: 400 });
});

test("a repeat under the same idempotency key is answered as the first and not delivered again", async () => {
  const name = fresh("orders");
  const channel = await subscribed(guest("ada").subscribe(name));
  const heard: unknown[] = [];
  channel.bind("paid", (data: unknown) => heard.push(data));
  const params = { idempotency_key: fresh("payment"), info: "subscription_count" };

  const first = await server.trigger(name, "paid", { id: 7 }, params);
  const repeat = await server.trigger(name, "paid", { id: 7 }, params);
  const fence = next(channel, "fence");
  await server.trigger(name, "fence", {});
  await fence;

  expect(await repeat.text()).toBe(await first.text());
  expect(heard).toEqual([{ id: 7 }]);
});

test("a cache channel's last event can be read", async () => {
  const name = fresh("cache-news");
  const before = (await read(`/channels/${name}`, { info: "cache" })) as { cache: unknown };
  await server.trigger(name, "price", { at: 2 });
  const after = (await read(`/channels/${name}`, { info: "cache" })) as { cache: { data: string; ttl: number } };

  expect(before.cache).toBeNull();
  expect(after.cache.data).toBe('{"at":2}');
  expect(after.cache.ttl).toBeGreaterThan(0);
  expect(after.cache.ttl).toBeLessThanOrEqual(1800);
});

test.each([
  ["user_count of a public channel", "/channels/news", { info: "user_count" }],
  ["user_count of channels that are not all presence", "/channels", { info: "user_count" }],
  ["users of a public channel", "/channels/news/users", {}],
  ["an unknown attribute", "/channels/news", { info: "colour" }],
  ["a parameter that users do not have", "/channels/presence-room/users", { info: "user_count" }],
])("asking for %s is refused with 400", async (_, path, params) => {
  await expect(read(path, params)).rejects.toMatchObject({ status: 400 });
});

test("only channels that somebody is in are listed, by prefix", async () => {
  const prefix = fresh("news");
  await subscribed(guest("ada").subscribe(`${prefix}-a`));
  await subscribed(guest("ada").subscribe(`${prefix}-b`));

  expect(await read("/channels", { filter_by_prefix: `${prefix}-` })).toEqual({
    channels: { [`${prefix}-a`]: {}, [`${prefix}-b`]: {} },
  });
});

test("a wrong secret is refused with 401", async () => {
  const forger = new PusherServer({
    appId: stack.appId,
    key: stack.key,
    secret: "not the secret",
    host: "127.0.0.1",
    port: String(stack.gatewayPort),
    useTLS: false,
  });

  await expect(forger.trigger("news", "e", {})).rejects.toMatchObject({ status: 401 });
});

test("a signature made by the npm library opens a private channel", async () => {
  const name = fresh("private-signed-elsewhere");
  const pusher = pusherAs("ada", {
    channelAuthorization: {
      transport: "ajax",
      endpoint: "",
      customHandler: ({ socketId, channelName }, done) =>
        done(null, server.authorizeChannel(socketId, channelName)),
    },
  });

  expect((await subscribed(pusher.subscribe(name))).subscribed).toBe(true);
});
