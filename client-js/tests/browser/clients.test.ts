/** Stock clients as page scripts in Chromium: both builds of pusher-js, and Echo. */

import type Echo from "laravel-echo";
import type PusherJs from "pusher-js";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { serverLibrary } from "../live/backend.js";
import { eventually } from "../live/eventually.js";
import { describeInBrowser, launch, stack } from "./chromium.js";

interface Heard {
  event: string;
  data: unknown;
}

/** What the pages of the backend have: the clients themselves, and what a test leaves there. */
interface Scripts {
  Pusher: typeof PusherJs;
  /** The built file of Echo is a namespace object. */
  Echo: { default: typeof Echo<"pusher"> };
  pusher: PusherJs;
  heardIn: Record<string, Heard[]>;
}

const server = serverLibrary(stack);
let names = 0;

function fresh(prefix: string): string {
  names += 1;
  return `${prefix}-${process.pid}-${Date.now().toString(36)}-${names}`;
}

describeInBrowser("stock clients in Chromium", () => {
  let browser: Browser;

  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(() => browser?.close());
  afterEach(async () => {
    await Promise.all(browser.contexts().map((context) => context.close()));
  });

  /** A page of its own with pusher-js connected as `user`. */
  async function open(user: string, { build = "encrypted", params = {}, key = stack.key } = {}): Promise<Page> {
    const page = await (await browser.newContext()).newPage();
    await page.goto(`${stack.backend}/${build}`);
    await page.evaluate(
      ([appKey, port, fields]) => {
        const scripts = globalThis as unknown as Scripts;
        scripts.heardIn = {};
        scripts.pusher = new scripts.Pusher(appKey, {
          cluster: "",
          wsHost: "127.0.0.1",
          wsPort: port,
          forceTLS: false,
          enabledTransports: ["ws"],
          // The default endpoints, /pusher/auth and /pusher/user-auth of the page's own origin.
          channelAuthorization: { transport: "ajax", endpoint: "/pusher/auth", params: fields },
          userAuthentication: { transport: "ajax", endpoint: "/pusher/user-auth", params: fields },
        });
      },
      [key, stack.gatewayPort, { user, ...params }] as const,
    );
    return page;
  }

  /** Subscribe in the page; what arrives is kept. */
  async function listen(page: Page, channel: string): Promise<void> {
    await page.evaluate(
      (name) =>
        new Promise<void>((done, fail) => {
          const { pusher, heardIn } = globalThis as unknown as Scripts;
          const kept: Heard[] = (heardIn[name] = []);
          const subscription = pusher.subscribe(name);
          subscription.bind_global((event: string, data: unknown) => kept.push({ event, data }));
          subscription.bind("pusher:subscription_succeeded", () => done());
          subscription.bind("pusher:subscription_error", (error: unknown) => fail(new Error(JSON.stringify(error))));
        }),
      channel,
    );
  }

  /** The data of what the page heard under one name. */
  async function heard(page: Page, channel: string, event: string): Promise<unknown[]> {
    const all = await page.evaluate((name) => (globalThis as unknown as Scripts).heardIn[name] ?? [], channel);
    return all.filter((one) => one.event === event).map(({ data }) => data);
  }

  async function signIn(page: Page): Promise<void> {
    await page.evaluate(() => {
      const { pusher, heardIn } = globalThis as unknown as Scripts;
      const kept: Heard[] = (heardIn["user"] = []);
      pusher.user.bind_global((event: string, data: unknown) => kept.push({ event, data }));
      pusher.user.watchlist.bind_global((event: string, data: unknown) => kept.push({ event, data }));
      pusher.signin();
    });
    await page.waitForFunction(() => (globalThis as unknown as Scripts).pusher.user.user_data);
  }

  function state(page: Page): Promise<string> {
    return page.evaluate(() => (globalThis as unknown as Scripts).pusher.connection.state);
  }

  test("the build with encryption reads what is encrypted end to end", async () => {
    const [name, page] = [fresh("private-encrypted-orders"), await open("ada")];
    await listen(page, name);

    await server.trigger(name, "shipped", { card: "4111", text: "Grüße" });

    await eventually(async () => (await heard(page, name, "shipped")).length > 0);
    expect(await heard(page, name, "shipped")).toEqual([{ card: "4111", text: "Grüße" }]);
  });

  test("the plain build says that it cannot", async () => {
    const page = await open("ada", { build: "plain" });

    await expect(listen(page, fresh("private-encrypted-orders"))).rejects.toThrow("no nacl implementation");
  });

  test.each(["plain", "encrypted"])("the %s build hears public, private, presence and cache channels", async (build) => {
    const page = await open("ada", { build });
    const channels = ["news", "private-orders", "presence-room", "cache-news", "private-cache-orders"].map(fresh);
    for (const name of channels) {
      await listen(page, name);
      await server.trigger(name, "said", { on: name });
      await eventually(async () => (await heard(page, name, "said")).length > 0);
      expect(await heard(page, name, "said")).toEqual([{ on: name }]);
    }
  });

  test.each(["cache-news", "private-cache-orders", "private-encrypted-cache-orders"])(
    "a channel like %s says that it missed, and greets the next page with its last event",
    async (kind) => {
      const name = fresh(kind);
      const early = await open("ada");
      await listen(early, name);
      await eventually(async () => (await heard(early, name, "pusher:cache_miss")).length > 0);

      await server.trigger(name, "price", { at: 1 });
      await eventually(async () => (await heard(early, name, "price")).length > 0);
      const late = await open("grace");
      await listen(late, name);

      await eventually(async () => (await heard(late, name, "price")).length > 0);
      expect(await heard(late, name, "price")).toEqual([{ at: 1 }]);
      expect(await heard(late, name, "pusher:cache_miss")).toEqual([]);
    },
  );

  test("a signed-in page hears what is for its user, until the server ends it for good", async () => {
    const user = fresh("ada");
    const page = await open(user);
    await signIn(page);

    await server.sendToUser(user, "note", { n: 1 });
    await eventually(async () => (await heard(page, "user", "note")).length > 0);
    expect(await heard(page, "user", "note")).toEqual([{ n: 1 }]);

    await server.terminateUserConnections(user);
    await eventually(async () => (await state(page)) === "disconnected");
  });

  test("a signed-in page enters a presence channel as its user", async () => {
    const [user, name] = [fresh("ada"), fresh("presence-room")];
    const page = await open(user, { params: { member: "signed-in" } });
    await signIn(page);

    await listen(page, name);

    const members = await heard(page, name, "pusher:subscription_succeeded");
    expect(members).toMatchObject([{ count: 1, myID: user, me: { id: user, info: { name: user } } }]);
  });

  test("a page sees whom it watches come and go", async () => {
    const [ada, grace] = [fresh("ada"), fresh("grace")];
    const watcher = await open(ada, { params: { watchlist: grace } });
    await signIn(watcher);

    const friend = await open(grace);
    await signIn(friend);
    await eventually(async () => (await heard(watcher, "user", "online")).length > 0);
    await friend.context().close();
    await eventually(async () => (await heard(watcher, "user", "offline")).length > 0);

    expect(await heard(watcher, "user", "online")).toMatchObject([{ name: "online", user_ids: [grace] }]);
    expect(await heard(watcher, "user", "offline")).toMatchObject([{ name: "offline", user_ids: [grace] }]);
  });

  test("pages of other origins are closed with 4009 where the app names its own", async () => {
    const page = await open("ada", { key: stack.apps.foreign?.key ?? "" });

    await eventually(async () => (await state(page)) === "disconnected");
  });

  test.each(["pusher", "reverb"])("Echo's %s joins, whispers and reads encrypted channels", async (broadcaster) => {
    const [room, vault] = [fresh("room"), fresh("vault")];
    const pages: Page[] = [];
    for (const user of ["ada", "grace"]) {
      const page = await (await browser.newContext()).newPage();
      pages.push(page);
      await page.goto(`${stack.backend}/encrypted`);
      await page.evaluate(
        async ([kind, key, port, name, roomName, vaultName]) => {
          const scripts = globalThis as unknown as Scripts;
          const kept: Heard[] = [];
          scripts.heardIn = { echo: kept };
          const echo = new scripts.Echo.default({
            broadcaster: kind as "pusher",
            key,
            cluster: "",
            wsHost: "127.0.0.1",
            wsPort: port,
            forceTLS: false,
            enabledTransports: ["ws", "wss"],
            bearerToken: name,
          });
          const keep = (event: string) => (data: unknown) => kept.push({ event, data });
          const both = [echo.join(roomName).listenForWhisper("typing", keep("typing")), echo.encryptedPrivate(vaultName).listen("Told", keep("Told"))];
          await Promise.all(both.map((channel) => new Promise<void>((done) => channel.subscribed(() => done()))));
          (scripts as unknown as { echo: Echo<"pusher"> }).echo = echo;
        },
        [broadcaster, stack.key, stack.gatewayPort, user, room, vault] as const,
      );
    }
    const [ada, grace] = pages as [Page, Page];

    await ada.evaluate((name) => {
      (globalThis as unknown as { echo: Echo<"pusher"> }).echo.join(name).whisper("typing", { by: "ada" });
    }, room);
    await server.trigger(`private-encrypted-${vault}`, "App\\Events\\Told", { text: "secret" });

    await eventually(async () => (await heard(grace, "echo", "typing")).length > 0);
    await eventually(async () => (await heard(ada, "echo", "Told")).length > 0);
    expect(await heard(grace, "echo", "typing")).toEqual([{ by: "ada" }]);
    expect(await heard(ada, "echo", "typing")).toEqual([]);
    expect(await heard(ada, "echo", "Told")).toEqual([{ text: "secret" }]);
  });
});
