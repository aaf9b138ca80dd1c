/** What our webhooks say, judged by the npm library `pusher`: its `webhook()` checks header, signature and shape. */

import { execFile } from "node:child_process";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import PusherServer from "pusher";
import { afterAll, beforeAll, expect, test } from "vitest";

import { server, stack } from "./clients.js";

interface Received {
  headers: Record<string, string>;
  rawBody: string;
}

const REPOSITORY = resolve(fileURLToPath(new URL(".", import.meta.url)), "../../..");
const PYTHON = process.env["BROADCASTER_PYTHON"] ?? join(REPOSITORY, ".venv/bin/python");
const EVENTS = [
  "channel_occupied",
  "channel_vacated",
  "member_added",
  "member_removed",
  "client_event",
  "cache_miss",
  "subscription_count",
];

const received: Received[] = [];
let receiver: Server;
let url: string;

beforeAll(async () => {
  receiver = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      received.push({ headers: flat(request.headers), rawBody: Buffer.concat(parts).toString() });
      response.writeHead(204).end();
    });
  });
  await new Promise<void>((done) => receiver.listen(0, "127.0.0.1", done));
  url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hooks`;
});

afterAll(() => new Promise((done) => receiver.close(done)));

function flat(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}

/** Have the server's own program send one webhook; its answer ends it. */
async function sent(event: string): Promise<Received> {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith("BROADCASTER_"));
  const env = {
    ...Object.fromEntries(others),
    PYTHONPATH: [REPOSITORY, join(REPOSITORY, "auth")].join(":"),
    BROADCASTER_APP_ID: stack.appId,
    BROADCASTER_APP_KEY: stack.key,
    BROADCASTER_APP_SECRET: stack.secret,
    BROADCASTER_WEBHOOKS__ALLOW_PRIVATE: "true",
  };
  const words = ["-m", "broadcaster", "webhook", "test", "--url", url, "--event", event];
  await promisify(execFile)(PYTHON, words, { env, cwd: tmpdir(), timeout: 20_000 });
  const last = received.filter(({ rawBody }) => rawBody.includes(`"${event}"`)).at(-1);
  if (last === undefined) {
    throw new Error("nothing came");
  }
  return last;
}

test.concurrent.each(EVENTS)("webhook() accepts %s", async (event) => {
  const webhook = server.webhook(await sent(event));

  expect(webhook.isValid()).toBe(true);
  expect(webhook.isContentTypeValid()).toBe(true);
  expect(webhook.getEvents().map(({ name }) => name)).toEqual([event]);
  expect(Math.abs(webhook.getTime().getTime() - Date.now())).toBeLessThan(60_000);
});

test("webhook() refuses a changed body, another content type and another app", async () => {
  const good = await sent("channel_occupied");
  const other = new PusherServer({ appId: "1", key: stack.key, secret: "other", cluster: "x" });
  const charset = { ...good.headers, "content-type": "application/json; charset=utf-8" };

  expect(server.webhook({ ...good, rawBody: `${good.rawBody} ` }).isValid()).toBe(false);
  expect(server.webhook({ ...good, headers: charset }).isValid()).toBe(false);
  expect(other.webhook(good).isValid()).toBe(false);
});
