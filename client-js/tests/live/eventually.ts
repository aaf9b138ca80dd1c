import { setTimeout as pause } from "node:timers/promises";

/** Wait until `question` answers something true, and return that; fail after `within` ms. */
export async function eventually<T>(
  question: () => T | Promise<T>,
  { within = 10_000, what = "it" } = {},
): Promise<T> {
  const deadline = Date.now() + within;
  for (;;) {
    const answer = await question();
    if (answer) {
      return answer;
    }
    if (Date.now() > deadline) {
      throw new Error(`${what} is still not so after ${within} ms`);
    }
    await pause(20);
  }
}
