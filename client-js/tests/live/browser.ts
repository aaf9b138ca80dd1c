/** Which browser the tests use, and whether it is there. */

import { existsSync } from "node:fs";

export const CHROMIUM = process.env["CHROMIUM_PATH"] ?? "/usr/bin/chromium";

/** Why browser tests are skipped, or undefined. Under CI they never are: launching fails then. */
export function browserProblem(): string | undefined {
  return existsSync(CHROMIUM) || process.env["CI"]
    ? undefined
    : `browser tests skipped: no ${CHROMIUM}; apt-get install chromium, or set CHROMIUM_PATH`;
}
