/** Unmodified Laravel Echo in Node: backend, queue, worker, Redis and gateway are all real. */

import { expect, test } from "vitest";

import { socketIdFetch } from "../../packages/client/src/index.js";
import { eventually } from "../live/eventually.js";
import { connected, echoAs, fresh, server, stack } from "./clients.js";

type Listening = ReturnType<ReturnType<typeof echoAs>["private"]>;

function ready(channel: Listening): Promise<void> {
  return new Promise((resolve, reject) => {
    channel.subscribed(() => resolve());
    channel.error((error: unknown) => reject(new Error(JSON.stringify(error))));
  });
}

async function ship(send: typeof fetch, user: string, id: number, body: object = {}): Promise<Response> {
  return send(`${stack.demo}/orders/${id}/ship`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${user}` },
    body: JSON.stringify(body),
  });
}

test("a queued event reaches its owner under the name that Echo expects", async () => {
  const channel = echoAs("ada").private("orders.ada");
  await ready(channel);
  const heard: { order_id: number }[] = [];
  channel.listen("OrderShipped", (event: { order_id: number }) => heard.push(event));

  expect((await ship(fetch, "ada", 7001)).status).toBe(202);

  await eventually(() => heard.length > 0);
  expect(heard).toEqual([{ order_id: 7001, status: "shipped" }]);
});

test("a job runs in a worker, which broadcasts by itself", async () => {
  const channel = echoAs("ada").private("orders.ada");
  await ready(channel);
  const heard: { order_id: number; pid: number }[] = [];
  channel.listen("OrderPacked", (event: (typeof heard)[number]) => heard.push(event));

  await ship(fetch, "ada", 7002);

  // Orders of the test before are still being packed, perhaps.
  const packed = await eventually(() => heard.find(({ order_id }) => order_id === 7002));
  expect(packed?.pid).not.toBe(process.pid);
});

test("socketIdFetch makes to_others leave out this connection and no other", async () => {
  const [sender, other] = [echoAs("ada"), echoAs("ada")];
  const heard: string[] = [];
  for (const [name, echo] of [["sender", sender], ["other", other]] as const) {
    const channel = echo.private("orders.ada");
    await ready(channel);
    channel.listen("OrderShipped", ({ order_id }: { order_id: number }) => {
      if (order_id > 7002) {
        heard.push(`${name} ${order_id}`); // those of the tests before may still be on their way
      }
    });
  }
  await connected(sender.connector.pusher);
  const send = socketIdFetch(sender, { origins: [stack.demo] });

  await ship(send, "ada", 7003, { to_others: true });
  await ship(send, "ada", 7004, { to_others: false });

  await eventually(() => heard.length >= 3);
  expect(heard.filter((line) => !line.endsWith("7004"))).toEqual(["other 7003"]);
  expect(heard.filter((line) => line.endsWith("7004")).sort()).toEqual(["other 7004", "sender 7004"]);
});

test("another user's orders are refused, and .error() hears it", async () => {
  const channel = echoAs("grace").private("orders.ada");

  await expect(ready(channel)).rejects.toThrow('"status":403');
});

test("a listener for a literal name begins with a dot", async () => {
  const name = fresh("news");
  const channel = echoAs("ada").channel(name);
  const heard: unknown[] = [];
  await new Promise<void>((resolve) => channel.subscribed(() => resolve()));
  channel.listen(".order.shipped", (event: unknown) => heard.push(event));

  await server.trigger(name, "order.shipped", { a: 1 });

  await eventually(() => heard.length > 0);
  expect(heard).toEqual([{ a: 1 }]);
});
