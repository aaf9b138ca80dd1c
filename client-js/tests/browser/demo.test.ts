/**
 * Unmodified Echo in Chromium, on the demo page: HTTP, queue, worker, Redis, gateway, socket.
 */

import PusherServer from "pusher";
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { eventually } from "../live/eventually.js";
import { describeInBrowser, frames, heard, launch, listen, members, openTab, stack, type Tab } from "./chromium.js";

const server = new PusherServer({
  appId: stack.appId,
  key: stack.key,
  secret: stack.secret,
  host: "127.0.0.1",
  port: String(stack.gatewayPort),
  useTLS: false,
});

describeInBrowser("the demo in Chromium", () => {
  let browser: Browser;
  let tabs: Tab[] = [];

  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(async () => {
    await browser.close();
  });
  afterEach(async () => {
    const closing = tabs.splice(0);
    const problems = closing.flatMap(({ complaints, strangers }) => [...complaints, ...strangers]);
    await Promise.all(closing.map(close));
    expect(problems).toEqual([]);
  });

  /** Users are new in every test: those of the last one may still be leaving. */
  let turn = 0;
  const named = (name: string): string => `${name}-${Date.now().toString(36)}${(turn += 1)}`;

  async function open(user: string): Promise<Tab> {
    const tab = await openTab(browser, user);
    tabs.push(tab);
    return tab;
  }

  function close({ page }: Tab): Promise<void> {
    return page.context().close();
  }

  /** Ship an order to `customer`; returns its number once the backend has accepted it. */
  async function ship({ page }: Tab, customer?: string): Promise<string> {
    if (customer) {
      await page.selectOption("#customer", customer);
    }
    const accepted = page.waitForResponse((response) => response.url().endsWith("/ship"));
    await page.click("#ship");
    const response = await accepted;
    expect(response.status()).toBe(202);
    return /orders\/(\d+)\//.exec(response.url())?.[1] ?? "";
  }

  function shipment({ page }: Tab, order: string): ReturnType<typeof page.locator> {
    return page.locator(`#shipments [data-order="${order}"]`);
  }

  test("a private event is received by its owner", async () => {
    const tab = await open(named("ada"));

    const order = await ship(tab);

    await shipment(tab, order).locator('[data-step="received"][data-state="done"]').waitFor();
    await shipment(tab, order).locator('[data-step="worker"][data-state="done"]').waitFor();
    expect(await shipment(tab, order).locator(".verdict").textContent()).toMatch(/^received in/);
  });

  test("nobody but the customer receives it", async () => {
    const [ada, grace] = [named("ada"), named("grace")];
    const [merchant, customer] = [await open(ada), await open(grace)];
    await merchant.page.locator(`#customer option[value="${grace}"]`).waitFor({ state: "attached" });

    const order = await ship(merchant, grace);

    await shipment(customer, order).locator('[data-step="received"][data-state="done"]').waitFor();
    expect(await frames(merchant)).not.toContain("in App\\Events\\OrderShipped");
  });

  test("another user gets 403 and sees .error()", async () => {
    const [ada, grace] = [named("ada"), named("grace")];
    const intruder = await open(grace);

    const refusal = await intruder.page.evaluate(
      (owner) => new Promise((resolve) => window.echo.private(`orders.${owner}`).error(resolve)),
      ada,
    );

    expect(refusal).toMatchObject({ type: "AuthError", status: 403 });
  });

  test("the page shows the refusal to whoever tries", async () => {
    const { page } = await open(named("ada"));

    const asked: string[] = [];
    page.on("request", (request) => asked.push(request.url()));

    for (const time of [1, 2]) {
      await page.click("#peek");
      await page.locator("#peek-result", { hasText: "403 AuthError" }).waitFor();
      expect(asked).toHaveLength(time);
    }
  });

  test("presence: here, joining and leaving, two tabs of one user counting once", async () => {
    const [ada, grace] = [named("ada"), named("grace")];
    const first = await open(ada);
    const arrivals = async (name: string): Promise<string[]> => {
      const lines = await first.page.locator("#messages .arrival").allTextContents();
      return lines.filter((line) => line.toLowerCase().includes(name.replace("-", " ")));
    };

    const tab = await open(grace);
    await eventually(async () => (await members(first)).includes(grace), { what: "grace is here" });
    expect(await members(tab)).toEqual(expect.arrayContaining([ada, grace]));

    const again = await open(grace);
    expect((await members(again)).filter((id) => id === grace)).toEqual([grace]);
    await close(tab);
    // Whoever leaves later is announced later: so grace, had she left, would have been by now.
    const linus = named("linus");
    const fence = await open(linus);
    await eventually(async () => (await members(first)).includes(linus), { what: "linus is here" });
    await close(fence);
    await eventually(async () => !(await members(first)).includes(linus), { what: "linus is gone" });
    expect(await members(first)).toContain(grace);
    expect(await arrivals(grace)).toHaveLength(1);

    await close(again);
    await eventually(async () => !(await members(first)).includes(grace), { what: "grace is gone" });
    expect(await arrivals(grace)).toHaveLength(2);
    tabs = tabs.filter((open) => open === first);
  });

  test("a whisper reaches the others and not its sender", async () => {
    const [ada, grace] = [named("ada"), named("grace")];
    const [writer, reader] = [await open(ada), await open(grace)];

    await writer.page.locator("#chat-text").pressSequentially("hello");

    await reader.page.locator("#typing", { hasText: "is typing" }).waitFor();
    expect(await writer.page.locator("#typing").textContent()).toBe("");
    expect(await frames(writer)).toContain("out client-typing");
  });

  test("a chat message comes to the others once, and not back to its sender", async () => {
    const [ada, grace] = [named("ada"), named("grace")];
    const [writer, reader] = [await open(ada), await open(grace)];

    await writer.page.fill("#chat-text", "first");
    await writer.page.press("#chat-text", "Enter");
    await reader.page.locator("#messages .text", { hasText: "first" }).waitFor();
    await reader.page.fill("#chat-text", "second");
    await reader.page.press("#chat-text", "Enter");
    await writer.page.locator("#messages .text", { hasText: "second" }).waitFor();

    const incoming = (name: string): boolean => name === "in App\\Events\\ChatMessage";
    expect((await frames(writer)).filter(incoming)).toHaveLength(1);
    expect((await frames(reader)).filter(incoming)).toHaveLength(1);
  });

  test("a wave reaches every tab of that user, and nobody else", async () => {
    const [ada, grace] = [named("ada"), named("grace")];
    const [waving, one, two] = [await open(ada), await open(grace), await open(grace)];
    await Promise.all([one, two].map(({ page }) => page.waitForFunction(() => window.echo.connector.pusher.user.user_data)));

    await waving.page.click(`#members [data-user="${grace}"] .wave`);

    for (const { page } of [one, two]) {
      await page.locator("#messages .waved", { hasText: /^Ada .* waves at you$/ }).waitFor();
    }
    expect(await waving.page.locator("#messages .waved").count()).toBe(0);
  });

  test("to_others leaves out the tab that asked, and only that one", async () => {
    const ada = named("ada");
    const [sender, other] = [await open(ada), await open(ada)];

    await sender.page.check("#to-others");
    const without = await ship(sender);
    await shipment(other, without).locator('[data-step="received"][data-state="done"]').waitFor();
    await sender.page.uncheck("#to-others");
    const fence = await ship(sender);
    await shipment(sender, fence).locator('[data-step="received"][data-state="done"]').waitFor();

    const shipped = (await frames(sender)).filter((name) => name === "in App\\Events\\OrderShipped");
    expect(shipped).toHaveLength(1);
    expect(await shipment(sender, without).locator('[data-step="received"]').textContent()).toContain("left out");
  });

  test("a public channel delivers without authorization", async () => {
    const tab = await open(named("ada"));
    const channel = named("news");
    await listen(tab, channel, ".headline");

    await server.trigger(channel, "headline", { text: "hello" });

    await eventually(async () => (await heard(tab, channel)).length > 0);
    expect(await heard(tab, channel)).toEqual([{ text: "hello" }]);
    expect(await frames(tab)).not.toContain(`out POST /broadcasting/auth ${channel}`);
  });

  test("unsubscribing stops delivery", async () => {
    const tab = await open(named("ada"));
    const [left, kept] = [named("left"), named("kept")];
    await listen(tab, left, ".e");
    await listen(tab, kept, ".e");
    await server.trigger(left, "e", 1);
    await eventually(async () => (await heard(tab, left)).length === 1);

    await tab.page.evaluate((channel) => window.echo.leave(channel), left);
    await eventually(async () => {
      const response = await server.get({ path: `/channels/${left}` });
      return !((await response.json()) as { occupied: boolean }).occupied;
    });
    await server.trigger(left, "e", 2);
    await server.trigger(kept, "e", 3);

    await eventually(async () => (await heard(tab, kept)).length === 1);
    expect(await heard(tab, left)).toEqual([1]);
    expect((await frames(tab)).filter((name) => name === "in e")).toHaveLength(2);
  });

  test("the inspector unwraps, filters, hides kinds, pauses and clears", async () => {
    const { page } = await open(named("ada"));
    const shown = page.locator("#frames .frame:visible");

    await page.fill("#wire-filter", "connection_established");
    expect(await shown.count()).toBe(1);
    await shown.locator("summary").click();
    expect(await shown.locator("pre").first().textContent()).toContain('"activity_timeout": ');

    await page.fill("#wire-filter", "");
    await page.locator('#kinds [data-kind="http"]').click();
    expect(await page.locator('#frames .frame[data-kind="http"]:visible').count()).toBe(0);

    await page.click("#pause");
    const before = await page.locator("#frames .frame").count();
    await page.click("#ship");
    await page.locator("#wire-count", { hasText: "waiting" }).waitFor();
    expect(await page.locator("#frames .frame").count()).toBe(before);
    await page.click("#pause");
    await eventually(async () => (await page.locator("#frames .frame").count()) > before);

    // In one go: the order that was shipped is still being packed, perhaps, and the page told so.
    const left = await page.evaluate(() => {
      document.querySelector<HTMLElement>("#clear")?.click();
      return document.querySelectorAll("#frames .frame").length;
    });
    expect(left).toBe(0);
  });

  test.each([
    ["a phone", 360, 740],
    ["a desk", 1360, 860],
  ])("it fits %s without scrolling sideways", async (_, width, height) => {
    const { page } = await open(named("ada"));

    await page.setViewportSize({ width, height });

    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
  });

  test("whoever has not said a name is asked for one", async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(stack.demo);

    await page.fill("#name", named("eve"));
    await page.click("#sign-in-form button");

    await page.locator('#connection[data-state="connected"]').waitFor();
    await context.close();
  });

  test("the second tab is somebody else", async () => {
    const { page } = await open(named("ada"));

    const opened = page.context().waitForEvent("page");
    await page.click("#second-tab");
    const second = await opened;

    await second.locator('#members [data-user="ada"]').waitFor();
    expect(await second.locator("#my-name").textContent()).toBe("Ada");
  });
});
