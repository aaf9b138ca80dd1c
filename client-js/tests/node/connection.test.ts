/** How a connection begins, lives and ends under unmodified pusher-js. */

import type Pusher from "pusher-js";
import { describe, expect, test } from "vitest";

import { givenAddresses } from "../live/stack.js";
import { serverLibrary } from "../live/backend.js";
import { eventually } from "../live/eventually.js";
import { connected, fresh, guest, next, pusherAs, stack, subscribed } from "./clients.js";

interface Refusal {
  data: { code: number; message: string };
}

/** States that the connection goes through from now on. */
function states(pusher: Pusher): string[] {
  const seen: string[] = [];
  pusher.connection.bind("state_change", ({ current }: { current: string }) => seen.push(current));
  return seen;
}

/** Errors and the codes in them, from the first frame on; a refused handshake wraps them. */
function codes(pusher: Pusher): unknown[] {
  const seen: unknown[] = [];
  pusher.connection.bind("error", (error: { data?: Refusal["data"]; error?: Refusal }) => {
    seen.push((error.data ?? error.error?.data)?.code);
  });
  return seen;
}

/** pusher-js of one of the stack's further apps, which signs by itself. */
function tenant(name: keyof typeof stack.apps): { pusher: () => Pusher; library: ReturnType<typeof serverLibrary> } {
  const app = stack.apps[name];
  if (!app) {
    throw new Error(`this stack has no app ${name}`);
  }
  const library = serverLibrary({ ...stack, ...app });
  const pusher = (): Pusher =>
    pusherAs(
      "ada",
      {
        channelAuthorization: {
          transport: "ajax",
          endpoint: "",
          customHandler: ({ socketId, channelName }, done) => {
            const member = { user_id: socketId };
            done(null, library.authorizeChannel(socketId, channelName, channelName.startsWith("presence-") ? member : undefined));
          },
        },
      },
      app.key,
    );
  return { pusher, library };
}

test("a ping of the client is answered, and the connection lives on", async () => {
  const pusher = guest("ada", { options: { activityTimeout: 200, pongTimeout: 2_000 } });
  await connected(pusher);
  const seen = states(pusher);
  const frames: string[] = [];
  pusher.connection.bind("message", ({ event }: { event: string }) => frames.push(event));

  await eventually(() => frames.filter((event) => event === "pusher:pong").length >= 3);

  expect(seen).toEqual([]);
});

// A stack that somebody else runs has one app.
describe.skipIf(givenAddresses())("an app with limits of its own", () => {
  test("that is disabled: 4003, and the client gives up", async () => {
    const pusher = tenant("closed").pusher();
    const seen = codes(pusher);

    await eventually(() => pusher.connection.state === "disconnected");

    expect(seen).toContain(4003);
  });

  test("whose connections are used up: 4100, and the client is let in when there is room", async () => {
    const { pusher } = tenant("single");
    const first = pusher();
    await connected(first);
    const second = pusher();
    const seen = codes(second);
    await eventually(() => seen.length > 0);
    expect(seen[0]).toBe(4100);
    expect(second.connection.state).toBe("connecting");

    first.disconnect();

    await connected(second);
  });

  test("that waits for a sign-in or a subscription with proof: 4009 when neither comes", async () => {
    const { pusher } = tenant("impatient");
    const idle = pusher();
    await connected(idle);
    const seen = codes(idle);
    const busy = pusher();
    await subscribed(busy.subscribe(fresh("private-orders")));
    const open = pusher();
    await subscribed(open.subscribe(fresh("news")));

    await eventually(() => idle.connection.state === "disconnected" && open.connection.state === "disconnected");

    expect(seen).toContain(4009);
    expect(busy.connection.state).toBe("connected");
  });

  test("with a short activity timeout: pusher-js keeps to it", async () => {
    const pusher = tenant("lively").pusher();
    await connected(pusher);
    const seen = states(pusher);

    await eventually(() => pusher.connection.state === "connected");
    const pong = next<{ event: string }>(pusher.connection, "message");

    expect((await pong).event).toBe("pusher:pong");
    expect(seen).toEqual([]);
  });

  test("without client events: refused with 4301", async () => {
    const { pusher } = tenant("strict");
    const ada = pusher();
    const channel = await subscribed(ada.subscribe(fresh("private-orders")));
    const refused = next<Refusal>(ada.connection, "error");

    channel.trigger("client-said", {});

    expect((await refused).data).toMatchObject({
      code: 4301,
      message: expect.stringContaining("client messaging enabled") as string,
    });
  });

  test("with room for two members: a third is refused, a second tab of one is not", async () => {
    const { library } = tenant("strict");
    const name = fresh("presence-room");
    const as = (user_id: string): Pusher =>
      pusherAs(
        user_id,
        {
          channelAuthorization: {
            transport: "ajax",
            endpoint: "",
            customHandler: ({ socketId, channelName }, done) =>
              done(null, library.authorizeChannel(socketId, channelName, { user_id })),
          },
        },
        stack.apps.strict?.key,
      );
    await subscribed(as("ada").subscribe(name));
    await subscribed(as("grace").subscribe(name));
    await subscribed(as("ada").subscribe(name));

    const refusal = await next(as("linus").subscribe(name), "pusher:subscription_error");

    expect(refusal).toMatchObject({ type: "LimitReached", status: 4100 });
  });

  test("with three channels a connection: the fourth is refused", async () => {
    const pusher = tenant("strict").pusher();
    const names = ["a", "b", "c", "d"].map(fresh);
    await Promise.all(names.slice(0, 3).map((name) => subscribed(pusher.subscribe(name))));

    const refusal = await next(pusher.subscribe(names[3] ?? ""), "pusher:subscription_error");

    expect(refusal).toMatchObject({ type: "LimitReached", status: 4100 });
    expect(pusher.connection.state).toBe("connected");
  });

  test("has channels of its own: an event of one app does not reach the other's", async () => {
    const { pusher, library } = tenant("strict");
    const name = fresh("news");
    const theirs = await subscribed(pusher().subscribe(name));
    const ours = await subscribed(guest("ada").subscribe(name));
    const heard: unknown[] = [];
    ours.bind_global((event: string) => heard.push(event));
    const arrived = next(theirs, "headline");

    await library.trigger(name, "headline", 1);
    expect(await arrived).toBe(1);
    const own = next(ours, "fence");
    await serverLibrary(stack).trigger(name, "fence", {});
    await own;

    expect(heard.filter((event) => event === "headline")).toEqual([]);
  });
});
