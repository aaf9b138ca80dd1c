/** A headless Chromium, or the reason why there is none. */

import { chromium, type Browser, type Page } from "playwright-core";
import { describe, inject } from "vitest";

import { browserProblem, CHROMIUM } from "../live/browser.js";

export const stack = inject("stack");

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export const describeInBrowser = browserProblem() ? describe.skip : describe;

export function launch(): Promise<Browser> {
  // Playwright gives every launch a fresh profile of its own.
  return chromium.launch({ executablePath: CHROMIUM, args: FLAGS, chromiumSandbox: false });
}

/** One tab of the demo. */
export interface Tab {
  page: Page;
  /** What went wrong in it: page errors, and console errors but for refused requests. */
  complaints: string[];
  /** Requests to anybody but the stack. */
  strangers: string[];
}

/** Open the demo as `user` in a context of its own and wait until it is in the chat. */
export async function openTab(browser: Browser, user: string, demo = stack.demo): Promise<Tab> {
  const context = await browser.newContext();
  const page = await context.newPage();
  const tab: Tab = { page, complaints: [], strangers: [] };
  page.on("pageerror", (error) => tab.complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().includes("status of 403")) {
      tab.complaints.push(message.text());
    }
  });
  page.on("request", (request) => {
    if (new URL(request.url()).hostname !== "127.0.0.1") {
      tab.strangers.push(request.url());
    }
  });
  await page.goto(`${demo}/?as=${user}`);
  await page.locator(`#members [data-user="${user}"]`).waitFor();
  await page.locator('#connection[data-state="connected"]').waitFor();
  await page.waitForFunction(
    (channel) => window.echo.connector.pusher.channel(channel)?.subscribed,
    `private-orders.${user}`,
  );
  return tab;
}

/** Ids of the members that this tab shows, sorted. */
export async function members({ page }: Tab): Promise<string[]> {
  const shown = page.locator("#members li");
  return (await shown.evaluateAll((items) => items.map((item) => (item as HTMLElement).dataset["user"] ?? ""))).sort();
}

/** Names of the frames that this tab's inspector holds, oldest first. */
export async function frames({ page }: Tab): Promise<string[]> {
  const shown = page.locator("#frames .frame");
  const names = await shown.evaluateAll((items) =>
    items.map((item) => `${(item as HTMLElement).dataset["direction"]} ${(item as HTMLElement).dataset["event"]}`),
  );
  return names.reverse();
}

interface Listener {
  listen(event: string, callback: (data: unknown) => void): Listener;
  subscribed(callback: () => void): Listener;
  error(callback: (error: unknown) => void): Listener;
}

/** The Echo that the demo page leaves for its console. */
interface PageEcho {
  channel(name: string): Listener;
  private(name: string): Listener;
  leave(name: string): void;
  socketId(): string;
  connector: { pusher: { channel(name: string): { subscribed: boolean } | undefined; user: { user_data: unknown } } };
}

declare global {
  interface Window {
    echo: PageEcho;
    heard: Record<string, unknown[]>;
  }
}

/** Listen in the page to a public channel; what arrives is kept in `window.heard[channel]`. */
export async function listen({ page }: Tab, channel: string, event: string): Promise<void> {
  await page.evaluate(
    ([name, wanted]) =>
      new Promise<void>((resolve) => {
        window.heard ??= {};
        const kept: unknown[] = (window.heard[name] = []);
        window.echo.channel(name).listen(wanted, (data) => kept.push(data)).subscribed(resolve);
      }),
    [channel, event] as const,
  );
}

export function heard({ page }: Tab, channel: string): Promise<unknown[]> {
  return page.evaluate((name) => window.heard[name] ?? [], channel);
}
