/** Subscribing and unsubscribing in every order that the suite of pusher-js asks for. */

import type Pusher from "pusher-js";
import { describe, expect, test } from "vitest";

import { eventually } from "../live/eventually.js";
import { connected, fresh, guest, next, server } from "./clients.js";

const SUBSCRIBED = { subscribed: true, subscriptionPending: false, subscriptionCancelled: false };
const PENDING = { subscribed: false, subscriptionPending: true, subscriptionCancelled: false };
const CANCELLED = { subscribed: false, subscriptionPending: true, subscriptionCancelled: true };

/** One step: what is done, and the state right after it. */
type Step = (pusher: Pusher, name: string) => void | Promise<void>;

const sub: Step = (pusher, name) => void pusher.subscribe(name);
const unsub: Step = (pusher, name) => pusher.unsubscribe(name);
const wait: Step = (pusher, name) =>
  eventually(() => !pusher.channel(name)?.subscriptionPending, { what: "settled" }).then(() => undefined);

const SEQUENCES: [string, [Step, object | undefined][], object | undefined][] = [
  ["sub-sub = sub", [[sub, PENDING], [sub, PENDING]], SUBSCRIBED],
  ["sub-wait-sub = sub", [[sub, PENDING], [wait, SUBSCRIBED], [sub, SUBSCRIBED]], SUBSCRIBED],
  ["sub-unsub = nothing", [[sub, PENDING], [unsub, CANCELLED]], undefined],
  ["sub-wait-unsub = nothing", [[sub, PENDING], [wait, SUBSCRIBED], [unsub, undefined]], undefined],
  ["sub-unsub-sub = sub", [[sub, PENDING], [unsub, CANCELLED], [sub, PENDING]], SUBSCRIBED],
  [
    "sub-unsub-wait-sub = sub",
    [[sub, PENDING], [unsub, CANCELLED], [wait, undefined], [sub, PENDING]],
    SUBSCRIBED,
  ],
  ["sub-unsub-unsub = nothing", [[sub, PENDING], [unsub, CANCELLED], [unsub, CANCELLED]], undefined],
];

function expectState(pusher: Pusher, name: string, state: object | undefined): void {
  const channel = pusher.channel(name);
  if (state) {
    expect(channel).toMatchObject(state);
  } else {
    expect(channel).toBeUndefined();
  }
}

async function occupied(name: string): Promise<boolean> {
  const response = await server.get({ path: `/channels/${name}` });
  return ((await response.json()) as { occupied: boolean }).occupied;
}

describe.each(["news", "private-orders", "presence-room"])("on a channel like %s", (prefix) => {
  test.each(SEQUENCES)("%s", async (_, steps, end) => {
    const name = fresh(prefix);
    const pusher = guest("ada");
    await connected(pusher);

    for (const [step, state] of steps) {
      await step(pusher, name);
      expectState(pusher, name, state);
    }
    await wait(pusher, name);

    expectState(pusher, name, end);
    // And the gateway is of the same opinion.
    await eventually(async () => (await occupied(name)) === (end !== undefined));
    if (end) {
      const heard = next(pusher.channel(name), "fence");
      await server.trigger(name, "fence", 1);
      expect(await heard).toBe(1);
    }
  });
});

test("unsubscribing twice is harmless, and from a channel never entered too", async () => {
  const pusher = guest("ada");
  await connected(pusher);
  const name = fresh("private-orders");
  pusher.subscribe(name);
  await wait(pusher, name);

  pusher.unsubscribe(name);
  pusher.unsubscribe(name);
  pusher.unsubscribe(fresh("never"));
  pusher.send_event("pusher:unsubscribe", { channel: name });
  const frames: string[] = [];
  pusher.connection.bind("message", ({ event }: { event: string }) => frames.push(event));
  pusher.send_event("pusher:ping", {});
  await eventually(() => frames.includes("pusher:pong"));

  expect(pusher.connection.state).toBe("connected");
});

test("a second subscription of the wire is answered with an error, and the first stays", async () => {
  const pusher = guest("ada");
  await connected(pusher);
  const name = fresh("news");
  pusher.subscribe(name);
  await wait(pusher, name);
  const refused = next<{ data: object }>(pusher.connection, "error");

  pusher.send_event("pusher:subscribe", { channel: name, auth: "" });

  expect((await refused).data).toMatchObject({
    code: null,
    message: expect.stringContaining("Existing subscription to channel") as string,
  });
  const heard = next(pusher.channel(name), "fence");
  await server.trigger(name, "fence", 1);
  expect(await heard).toBe(1);
});
