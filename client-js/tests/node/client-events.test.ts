/** Client events (Echo's whispers): who may send them, who hears them, what is refused. */

import type Pusher from "pusher-js";
import { expect, test } from "vitest";

import { eventually } from "../live/eventually.js";
import { connected, fresh, guest, guestEcho, next, subscribed } from "./clients.js";

interface Refusal {
  data: { code: number; message: string };
}

/** What the gateway says when it refuses on the connection. */
function refusal(pusher: Pusher): Promise<Refusal> {
  return next<Refusal>(pusher.connection, "error");
}

async function pair(name: string): Promise<[Pusher, Pusher]> {
  const both: [Pusher, Pusher] = [guest("ada"), guest("grace")];
  await Promise.all(both.map((pusher) => subscribed(pusher.subscribe(name))));
  return both;
}

test.each([
  ["an object", { at: 1, deep: { list: [1, null] } }],
  ["a list", [1, 2]],
  ["text", "hello"],
  ["a number", 7],
])("a client event whose data is %s arrives as that", async (_, data) => {
  const name = fresh("private-orders");
  const [ada, grace] = await pair(name);
  const heard = next(grace.channel(name), "client-said");

  ada.channel(name).trigger("client-said", data);

  expect(await heard).toEqual(data);
});

test("on a presence channel the server says who sent it, and not on a private one", async () => {
  const said: unknown[] = [];
  for (const prefix of ["presence-room", "private-orders"]) {
    const name = fresh(prefix);
    const [ada, grace] = await pair(name);
    grace.channel(name).bind("client-said", (_: unknown, metadata: unknown) => said.push(metadata));

    ada.channel(name).trigger("client-said", { user_id: "somebody-else" });
    await next(grace.channel(name), "client-said");
  }

  expect(said).toEqual([{ user_id: "ada" }, {}]);
});

test("an encrypted channel takes none: pusher-js throws", async () => {
  const channel = await subscribed(guest("ada").subscribe(fresh("private-encrypted-orders")));

  expect(() => channel.trigger("client-said", {})).toThrow("not currently supported for encrypted");
});

test.each(["news", "cache-news"])("a channel like %s takes none: refused with 4301", async (kind) => {
  const name = fresh(kind);
  const [ada, grace] = await pair(name);
  const heard: unknown[] = [];
  grace.channel(name).bind("client-said", () => heard.push(1));
  const refused = refusal(ada);

  ada.channel(name).trigger("client-said", {});

  expect((await refused).data.code).toBe(4301);
  expect(ada.connection.state).toBe("connected");
  expect(heard).toEqual([]);
});

test("who has not entered the channel sends nothing to it", async () => {
  const name = fresh("private-orders");
  const inside = await subscribed(guest("grace").subscribe(name));
  const heard: unknown[] = [];
  inside.bind("client-said", () => heard.push(1));
  const outsider = guest("ada");
  await connected(outsider);
  const refused = refusal(outsider);

  outsider.send_event("client-said", {}, name);

  expect((await refused).data.code).toBe(4301);
  expect(heard).toEqual([]);
});

test.each([
  ["more than 10 kB of data", "client-said", "x".repeat(11_000)],
  ["a name of more than 200 characters", `client-${"x".repeat(200)}`, {}],
])("%s is refused with 4301", async (_, event, data) => {
  const name = fresh("private-orders");
  const [ada] = await pair(name);
  const refused = refusal(ada);

  ada.channel(name).trigger(event, data);

  expect((await refused).data.code).toBe(4301);
  expect(ada.connection.state).toBe("connected");
});

test("more than ten in a second are refused with 4301, and the connection stays", async () => {
  const name = fresh("private-orders");
  const [ada, grace] = await pair(name);
  const heard: number[] = [];
  grace.channel(name).bind("client-said", (n: number) => heard.push(n));
  const refused = refusal(ada);

  for (let n = 0; n < 30; n += 1) {
    ada.channel(name).trigger("client-said", n);
  }

  expect((await refused).data.code).toBe(4301);
  await eventually(() => heard.length >= 10);
  expect(heard.slice(0, 10)).toEqual([...Array(10).keys()]);
  expect(heard.length).toBeLessThan(30);
  expect(ada.connection.state).toBe("connected");
});

test("what a client may not say at all is answered with an error, and the connection stays", async () => {
  const pusher = guest("ada");
  await connected(pusher);
  const refused = refusal(pusher);

  pusher.send_event("pusher_internal:member_added", { user_id: "x" }, fresh("presence-room"));

  expect((await refused).data.message).toContain("cannot be sent by a client");
  expect(pusher.connection.state).toBe("connected");
});

test.each(["pusher", "reverb"] as const)("Echo's %s whispers to the others and not to itself", async (broadcaster) => {
  const name = fresh("orders");
  const heard: string[] = [];
  const [ada, grace] = [guestEcho(broadcaster, "ada"), guestEcho(broadcaster, "grace")];
  for (const [user, echo] of [["ada", ada], ["grace", grace]] as const) {
    const channel = echo.private(name);
    channel.listenForWhisper("typing", ({ by }: { by: string }) => heard.push(`${user} hears ${by}`));
    await new Promise<void>((done) => channel.subscribed(() => done()));
  }

  ada.private(name).whisper("typing", { by: "ada" });
  await eventually(() => heard.length === 1);
  grace.private(name).whisper("typing", { by: "grace" });
  await eventually(() => heard.length === 2);

  expect(heard).toEqual(["grace hears ada", "ada hears grace"]);
});
