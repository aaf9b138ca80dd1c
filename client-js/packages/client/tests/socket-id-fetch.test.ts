import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { socketIdFetch, type SocketIdSource } from "../src/index.js";

const PAGE = "https://shop.example";

let sent: Request[];
const transport: typeof fetch = (input, init) => {
  // Like a browser: relative addresses are resolved against the page.
  const address = typeof input === "string" ? new URL(input, PAGE) : input;
  sent.push(new Request(address, init));
  return Promise.resolve(new Response("ok"));
};

beforeEach(() => {
  sent = [];
  vi.stubGlobal("location", new URL(`${PAGE}/orders/`));
});
afterEach(() => {
  vi.unstubAllGlobals();
});

function lastHeader(): string | null {
  return sent.at(-1)?.headers.get("X-Socket-ID") ?? null;
}

test.each<[string, SocketIdSource]>([
  ["Echo", { socketId: () => "12.34" }],
  ["a Pusher instance", { connection: { socket_id: "12.34" } }],
  ["a function", () => "12.34"],
  ["the id itself", "12.34"],
])("the socket id is read from %s", async (_, source) => {
  await socketIdFetch(source, transport)("/orders");

  expect(lastHeader()).toBe("12.34");
});

test.each([
  ["a relative address", "/orders"],
  ["an absolute address of the page's origin", `${PAGE}/orders`],
  ["a URL object", new URL(`${PAGE}/orders`)],
  ["a Request object", new Request(`${PAGE}/orders`)],
])("%s of the page's own origin gets the header", async (_, address) => {
  await socketIdFetch("12.34", transport)(address);

  expect(lastHeader()).toBe("12.34");
});

test.each([
  ["another host", "https://evil.example/orders"],
  ["another scheme", "http://shop.example/orders"],
  ["another port", "https://shop.example:8443/orders"],
  ["a subdomain", "https://api.shop.example/orders"],
  ["a name that only begins like the page's", "https://shop.example.evil.example/"],
  ["a scheme-relative address", "//evil.example/orders"],
])("%s never learns the socket id", async (_, address) => {
  await socketIdFetch("12.34", transport)(address);
  await socketIdFetch("12.34", transport)(new Request(new URL(address, PAGE)));

  expect(sent.map((request) => request.headers.get("X-Socket-ID"))).toEqual([null, null]);
});

test("an allow-listed origin gets the header, and only that one", async () => {
  const send = socketIdFetch("12.34", { fetch: transport, origins: ["https://api.shop.example"] });

  await send("https://api.shop.example/orders");
  await send("https://other.shop.example/orders");

  expect(sent.map((request) => request.headers.get("X-Socket-ID"))).toEqual(["12.34", null]);
});

test.each(["api.shop.example", "https://api.shop.example/v1", "*", "data:text/plain,x"])(
  "%j is refused as an origin when the helper is made",
  (origin) => {
    expect(() => socketIdFetch("12.34", { origins: [origin] })).toThrow(/is not an origin/);
  },
);

test("a header that the caller set is kept", async () => {
  const send = socketIdFetch("12.34", transport);

  await send("/orders", { headers: { "x-socket-id": "99.1" } });
  expect(lastHeader()).toBe("99.1");

  await send(new Request(`${PAGE}/orders`, { headers: { "X-Socket-ID": "99.2" } }));
  expect(lastHeader()).toBe("99.2");
});

test("without a socket id the very same arguments go on", async () => {
  const inner = vi.fn<typeof fetch>(() => Promise.resolve(new Response()));
  const init = { method: "POST" };

  await socketIdFetch({ socketId: () => undefined }, inner)("/orders", init);

  expect(inner).toHaveBeenCalledExactlyOnceWith("/orders", init);
  expect(inner.mock.calls[0]?.[1]).toBe(init);
});

test("the id is read anew for each request, so it follows a reconnect", async () => {
  let id: string | undefined;
  const send = socketIdFetch(() => id, transport);
  const seen = [];

  for (id of [undefined, "1.1", "2.2"]) {
    await send("/orders");
    seen.push(lastHeader());
  }

  expect(seen).toEqual([null, "1.1", "2.2"]);
});

test("method, body and headers of a Request survive", async () => {
  const request = new Request(`${PAGE}/orders`, {
    method: "POST",
    body: '{"amount":5}',
    headers: { "content-type": "application/json", authorization: "Bearer ada" },
  });

  await socketIdFetch("12.34", transport)(request);

  const last = sent[0];
  expect(last?.method).toBe("POST");
  expect(last?.headers.get("authorization")).toBe("Bearer ada");
  expect(lastHeader()).toBe("12.34");
  expect(await last?.json()).toEqual({ amount: 5 });
});

test("headers of init replace those of a Request, as fetch has it", async () => {
  const request = new Request(`${PAGE}/orders`, { headers: { "X-Socket-ID": "99.1", a: "1" } });

  await socketIdFetch("12.34", transport)(request, { headers: { b: "2" } });

  expect(lastHeader()).toBe("12.34");
  expect(sent[0]?.headers.get("a")).toBeNull();
  expect(sent[0]?.headers.get("b")).toBe("2");
});

test("installed as the global fetch it does not call itself", async () => {
  vi.stubGlobal("fetch", transport);
  vi.stubGlobal("fetch", socketIdFetch("12.34"));

  await fetch("/orders");

  expect(sent).toHaveLength(1);
  expect(lastHeader()).toBe("12.34");
});

test("the caller's init object is not changed", async () => {
  const init = { headers: { a: "1" } };

  await socketIdFetch("12.34", transport)("/orders", init);

  expect(init).toEqual({ headers: { a: "1" } });
});

test("outside a page only allow-listed origins get the header", async () => {
  vi.unstubAllGlobals();
  const send = socketIdFetch("12.34", { fetch: transport, origins: ["http://127.0.0.1:8000"] });

  await send("http://127.0.0.1:8000/orders");
  await send(`${PAGE}/orders`);

  expect(sent.map((request) => request.headers.get("X-Socket-ID"))).toEqual(["12.34", null]);
});

test("an address that cannot be read is left for fetch to refuse", async () => {
  const inner = vi.fn<typeof fetch>(() => Promise.reject(new TypeError("Invalid URL")));

  await expect(socketIdFetch("12.34", inner)("http://")).rejects.toThrow("Invalid URL");
});
