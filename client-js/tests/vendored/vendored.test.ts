import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const ROOT = new URL("../../", import.meta.url);
const VENDOR = new URL("../broadcaster/demo/static/vendor/", ROOT);

const ORIGINS = {
  "pusher.min.js": "node_modules/pusher-js/dist/web/pusher.min.js",
  "pusher.min.js.LICENSE.txt": "node_modules/pusher-js/dist/web/pusher.min.js.LICENSE.txt",
  "pusher-js.LICENCE": "node_modules/pusher-js/LICENCE",
  "echo.iife.js": "node_modules/laravel-echo/dist/echo.iife.js",
  "laravel-echo.LICENSE.md": "node_modules/laravel-echo/LICENSE.md",
  "broadcaster-client/index.js": "packages/client/dist/index.js",
  "broadcaster-client/echo-options.js": "packages/client/dist/echo-options.js",
  "broadcaster-client/socket-id-fetch.js": "packages/client/dist/socket-id-fetch.js",
};

test.each(Object.entries(ORIGINS))("the demo serves %s exactly as %s", (copy, origin) => {
  expect(readFileSync(new URL(copy, VENDOR)).equals(readFileSync(new URL(origin, ROOT)))).toBe(true);
});

test("every vendored file is compared, and stands in SHA256SUMS with its sum", () => {
  const files = readdirSync(fileURLToPath(VENDOR), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== "SHA256SUMS")
    .map((entry) => `${entry.parentPath}/${entry.name}`.replace(fileURLToPath(VENDOR), "").replace(/^\/+/, ""));
  const lines = files.map((name) => {
    const sum = createHash("sha256").update(readFileSync(new URL(name, VENDOR))).digest("hex");
    return `${sum}  ${name}`;
  });

  expect(files.sort()).toEqual(Object.keys(ORIGINS).sort());
  expect(readFileSync(new URL("SHA256SUMS", VENDOR), "utf8").trim().split("\n").sort()).toEqual(
    lines.sort(),
  );
});
