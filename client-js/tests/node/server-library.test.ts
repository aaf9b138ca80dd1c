/** The unmodified npm library `pusher` on our HTTP API. */

import PusherServer from "pusher";
import { expect, test } from "vitest";

import { eventually } from "../live/eventually.js";
import { connected, fresh, next, pusherAs, server, stack, subscribed } from "./clients.js";

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
