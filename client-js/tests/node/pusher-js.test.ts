/** Unmodified pusher-js in Node against a live stack. */

import type { PresenceChannel } from "pusher-js";
import { expect, test } from "vitest";

import { eventually } from "../live/eventually.js";
import { connected, fresh, next, pusherAs, server, stack, subscribed } from "./clients.js";

test("it connects and is given a socket id", async () => {
  const pusher = pusherAs("ada");

  expect(await connected(pusher)).toMatch(/^\d+\.\d+$/);
});

test("an unknown key is refused for good, with its code", async () => {
  const pusher = pusherAs("ada", {}, `${stack.key}x`);

  const { error } = await next<{ error: { data: { code: number } } }>(pusher.connection, "error");

  expect(error.data.code).toBe(4001);
  await eventually(() => pusher.connection.state === "disconnected");
});

test("a public channel needs no authorization and delivers data as it was sent", async () => {
  const name = fresh("news");
  const channel = await subscribed(pusherAs("ada").subscribe(name));
  const heard = next(channel, "headline");

  await server.trigger(name, "headline", { text: "Grüße, 世界 \u{1f4e3}", list: [1, 2.5, null] });

  expect(await heard).toEqual({ text: "Grüße, 世界 \u{1f4e3}", list: [1, 2.5, null] });
});

test("several events of one channel arrive in order, each once", async () => {
  const name = fresh("counter");
  const channel = await subscribed(pusherAs("ada").subscribe(name));
  const heard: number[] = [];
  channel.bind("tick", ({ n }: { n: number }) => heard.push(n));

  for (let n = 0; n < 50; n += 1) {
    await server.trigger(name, "tick", { n });
  }
  await eventually(() => heard.length >= 50);

  expect(heard).toEqual([...Array(50).keys()]);
});

test("a private channel is entered by its owner and refused to others", async () => {
  await subscribed(pusherAs("ada").subscribe("private-orders.ada"));

  const refusal = next<{ type: string; status: number }>(
    pusherAs("grace").subscribe("private-orders.ada"),
    "pusher:subscription_error",
  );

  expect(await refusal).toMatchObject({ type: "AuthError", status: 403 });
});

test("a forged signature is refused by the gateway, on the channel", async () => {
  const pusher = pusherAs("ada", {
    channelAuthorization: {
      transport: "ajax",
      endpoint: "",
      customHandler: (_, done) => done(null, { auth: `${stack.key}:${"0".repeat(64)}` }),
    },
  });

  const refusal = await next(pusher.subscribe("private-orders.ada"), "pusher:subscription_error");

  expect(refusal).toMatchObject({ type: "AuthError", status: 401 });
});

test("presence: two connections of one user are one member, announced once each way", async () => {
  const room = `presence-chat.${fresh("room")}`.slice(0, 37);
  const ada = (await subscribed(pusherAs("ada").subscribe(room))) as PresenceChannel;
  const seen: string[] = [];
  ada.bind("pusher:member_added", ({ id }: { id: string }) => seen.push(`+${id}`));
  ada.bind("pusher:member_removed", ({ id }: { id: string }) => seen.push(`-${id}`));

  const first = pusherAs("grace");
  const second = pusherAs("grace");
  const grace = (await subscribed(first.subscribe(room))) as PresenceChannel;
  await subscribed(second.subscribe(room));

  await eventually(() => seen.length > 0);
  expect(ada.members.count).toBe(2);
  expect(grace.members.count).toBe(2);
  expect(grace.members.me).toMatchObject({ id: "grace", info: { id: "grace", name: "Grace" } });

  first.disconnect();
  await subscribed(pusherAs("linus").subscribe(room));
  await eventually(() => seen.includes("+linus"));
  expect(seen).toEqual(["+grace", "+linus"]);

  second.disconnect();
  await eventually(() => seen.includes("-grace"));
  expect(seen).toEqual(["+grace", "+linus", "-grace"]);
  expect(ada.members.count).toBe(2);
});

test("a client event reaches the others of its channel, and not its sender", async () => {
  const room = `presence-chat.${fresh("r")}`.slice(0, 37);
  const ada = await subscribed(pusherAs("ada").subscribe(room));
  const grace = await subscribed(pusherAs("grace").subscribe(room));
  const own: unknown[] = [];
  ada.bind("client-typing", (data: unknown) => own.push(data));
  const heard = next(grace, "client-typing");

  ada.trigger("client-typing", { at: 1 });

  expect(await heard).toEqual({ at: 1 });
  const reply = next(ada, "client-done");
  grace.trigger("client-done", {});
  await reply;
  expect(own).toEqual([]);
});

test("after unsubscribing nothing of the channel arrives", async () => {
  const [kept, left] = [fresh("kept"), fresh("left")];
  const pusher = pusherAs("ada");
  const channel = await subscribed(pusher.subscribe(left));
  const fence = await subscribed(pusher.subscribe(kept));
  const heard: unknown[] = [];
  pusher.bind_global((name: string) => heard.push(name));

  pusher.unsubscribe(left);
  await eventually(async () => {
    const response = await server.get({ path: `/channels/${left}` });
    return !((await response.json()) as { occupied: boolean }).occupied;
  });
  await server.trigger(left, "late", {});
  const last = next(fence, "fence");
  await server.trigger(kept, "fence", {});
  await last;

  expect(channel.subscribed).toBe(false);
  expect(heard).not.toContain("late");
});
