/** Gives every live test the same stack: started once, also when several projects ask. */

import type { TestProject } from "vitest/node";

import { Backend } from "./backend.js";
import { browserProblem } from "./browser.js";
import { givenAddresses, Stack, type Addresses } from "./stack.js";

declare module "vitest" {
  interface ProvidedContext {
    stack: Addresses;
  }
}

interface Shared {
  users: number;
  stack: Promise<Stack>;
}

// Each project loads this file anew, but in one process.
const place = globalThis as { broadcasterStack?: Shared };

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const problem = project.name === "browser" ? browserProblem() : undefined;
  if (problem) {
    console.log(problem);
  }
  const given = givenAddresses();
  if (given) {
    const backend = await Backend.start(given);
    project.provide("stack", { ...given, backend: backend.url });
    return () => backend.stop();
  }
  const shared = (place.broadcasterStack ??= { users: 0, stack: Stack.start() });
  shared.users += 1;
  project.provide("stack", (await shared.stack).addresses);
  return async () => {
    shared.users -= 1;
    if (shared.users === 0) {
      delete place.broadcasterStack;
      await (await shared.stack).stop();
    }
  };
}
