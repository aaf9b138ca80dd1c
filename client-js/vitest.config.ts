import { defineConfig } from "vitest/config";

const live = {
  globalSetup: ["tests/live/setup.ts"],
  // One stack serves every file; Chromium and three Python processes share the machine.
  fileParallelism: false,
  testTimeout: 30_000,
  hookTimeout: 60_000,
};

export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["packages/*/tests/**/*.test.ts", "tests/vendored/*.test.ts"] } },
      { test: { name: "node", include: ["tests/node/**/*.test.ts"], ...live } },
      { test: { name: "browser", include: ["tests/browser/**/*.test.ts"], ...live } },
    ],
  },
});
