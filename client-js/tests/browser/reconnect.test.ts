/** What a page goes through when its gateway is restarted; on a stack of its own. */

import PusherServer from "pusher";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { eventually } from "../live/eventually.js";
import { givenAddresses, Stack } from "../live/stack.js";
import { describeInBrowser, heard, launch, listen, openTab } from "./chromium.js";

// A stack that somebody else runs is not ours to restart.
const describeHere = givenAddresses() ? describe.skip : describeInBrowser;

describeHere("a restarted gateway", () => {
  let browser: Browser;
  let stack: Stack;

  beforeAll(async () => {
    stack = await Stack.start();
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    await stack?.stop();
  });

  test.each(["SIGTERM", "SIGKILL"] as const)("after %s the page connects again and receives again", async (signal) => {
    const { gatewayPort, demo, appId, key, secret } = stack.addresses;
    const server = new PusherServer({ appId, key, secret, host: "127.0.0.1", port: String(gatewayPort), useTLS: false });
    const tab = await openTab(browser, `ada-${signal.toLowerCase()}`, demo);
    const channel = `news-${signal}`;
    await listen(tab, channel, ".e");
    const before = await tab.page.evaluate(() => window.echo.socketId());

    await stack.restartGateway(signal);

    await tab.page.waitForFunction(
      (old) => window.echo.socketId() && window.echo.socketId() !== old,
      before,
      // A refused connection makes pusher-js wait 15 s before it tries again.
      { timeout: 60_000 },
    );
    await tab.page.waitForFunction((name) => window.echo.connector.pusher.channel(name)?.subscribed, channel);
    await server.trigger(channel, "e", "again");
    await eventually(async () => (await heard(tab, channel)).length > 0);
    expect(await heard(tab, channel)).toEqual(["again"]);

    await tab.page.click("#ship");
    await tab.page.locator('#shipments [data-done="yes"]').waitFor();
    await tab.page.context().close();
  }, 90_000);
});
