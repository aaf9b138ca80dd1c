/**
 * Everything that a browser needs: Valkey, gateway, worker and the demo as real processes, and
 * beside them a backend in Node.
 */

import { execFile } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Backend } from "./backend.js";
import { Process } from "./process.js";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const REPOSITORY = resolve(HERE, "../../..");
const PYTHON = process.env["BROADCASTER_PYTHON"] ?? join(REPOSITORY, ".venv/bin/python");
const FOREIGN = /^(BROADCASTER|PUSHER|REVERB|SOKETI|REDIS|QUEUE|BROADCAST)_/;

/** Further apps of the same server, each with limits that a test runs into. */
const APPS = {
  closed: { enabled: false },
  foreign: { limits: { allowed_origins: ["shop.example"] } },
  // Longer than a slow machine needs between connecting and subscribing.
  impatient: { limits: { authorization_timeout: 3 } },
  lively: { limits: { activity_timeout: 1 } },
  single: { limits: { max_connections: 1 } },
  strict: { limits: { client_events: false, presence_members: 2, max_channels: 3 } },
};

export type AppName = keyof typeof APPS;

/** An app as a client and a backend know it. */
export interface App {
  appId: string;
  key: string;
  secret: string;
}

/** Where the running stack is, as plain data. */
export interface Addresses extends App {
  gateway: string;
  gatewayPort: number;
  demo: string;
  backend: string;
  redisUrl: string;
  /** None in a stack that somebody else runs. */
  apps: Partial<Record<AppName, App>>;
  /** 32 bytes as base64: the master key of encrypted channels. */
  encryptionKey: string;
}

/** The addresses of a stack that somebody else runs, if the environment names one. */
export function givenAddresses(): Addresses | undefined {
  const read = (name: string): string => process.env[`BROADCASTER_TEST_${name}`] ?? "";
  const gateway = read("URL");
  if (!gateway) {
    return undefined;
  }
  return {
    gateway,
    gatewayPort: Number(new URL(gateway).port),
    demo: read("DEMO_URL"),
    backend: "",
    redisUrl: read("REDIS_URL"),
    apps: {},
    appId: read("APP_ID"),
    key: read("KEY"),
    secret: read("SECRET"),
    encryptionKey: read("ENCRYPTION_KEY"),
  };
}

export class Stack {
  private constructor(
    readonly addresses: Addresses,
    private readonly cwd: string,
    private readonly env: NodeJS.ProcessEnv,
    private readonly processes: Map<string, Process>,
    private readonly backend: Backend,
  ) {}

  static async start(): Promise<Stack> {
    const [gatewayPort, demoPort] = [await freePort(), await freePort()];
    const addresses: Addresses = {
      gateway: `http://127.0.0.1:${gatewayPort}`,
      gatewayPort,
      demo: `http://127.0.0.1:${demoPort}`,
      backend: "",
      redisUrl: "",
      apps: Object.fromEntries(Object.keys(APPS).map((name) => [name, newApp()])),
      ...newApp(),
      encryptionKey: randomBytes(32).toString("base64"),
    };
    const backend = await Backend.start(addresses);
    addresses.backend = backend.url;
    const cwd = mkdtempSync(join(tmpdir(), "broadcaster-js-"));
    const stack = new Stack(addresses, cwd, environment(addresses), new Map(), backend);
    try {
      await stack.startValkey();
      await Promise.all([stack.startGateway(), stack.startWorker(), stack.startDemo(demoPort)]);
    } catch (error) {
      await stack.stop();
      throw error;
    }
    return stack;
  }

  /** Stop the gateway (by a kill -9 if asked) and bring it back on the same port. */
  async restartGateway(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    await this.processes.get("gateway")?.stop(signal);
    await this.startGateway();
  }

  async stop(): Promise<void> {
    // Backwards: Valkey was first, and the others still say goodbye to it.
    for (const child of [...this.processes.values()].reverse()) {
      await child.stop();
    }
    this.processes.clear();
    await this.backend.stop();
    rmSync(this.cwd, { recursive: true, force: true });
  }

  private async startValkey(): Promise<void> {
    const child = this.spawn("valkey", [join(HERE, "valkey.py")]);
    this.addresses.redisUrl = this.env["REDIS_URL"] = await child.printed();
  }

  private async startGateway(): Promise<void> {
    const port = String(this.addresses.gatewayPort);
    const child = this.broadcaster("gateway", ["serve", "--host", "127.0.0.1", "--port", port]);
    await child.answers(`${this.addresses.gateway}/ready`);
  }

  private startWorker(): Promise<void> {
    this.broadcaster("worker", ["work", "broadcaster.demo.events"]);
    return Promise.resolve();
  }

  private async startDemo(port: number): Promise<void> {
    const child = this.broadcaster("demo", [
      "factory",
      "broadcaster.demo.app:create_app",
      "127.0.0.1",
      String(port),
    ]);
    await child.answers(`${this.addresses.demo}/up`);
  }

  private broadcaster(name: string, args: readonly string[]): Process {
    return this.spawn(name, ["-m", "broadcaster.cli.tether", ...args]);
  }

  private spawn(name: string, args: readonly string[]): Process {
    const child = new Process(name, PYTHON, args, { env: this.env, cwd: this.cwd });
    this.processes.set(name, child);
    return child;
  }
}

/** One deed of a backend in Python, see backend.py; its answer. */
export async function python(addresses: Addresses, verb: string, ...given: unknown[]): Promise<unknown> {
  const script = [join(HERE, "backend.py"), verb, JSON.stringify(given)];
  const env = { ...environment(addresses), REDIS_URL: addresses.redisUrl };
  const { stdout } = await promisify(execFile)(PYTHON, script, { env, cwd: tmpdir(), timeout: 20_000 });
  return JSON.parse(stdout);
}

function newApp(): App {
  return {
    appId: String(randomInt(100_000, 1_000_000)),
    key: randomBytes(10).toString("hex"),
    secret: randomBytes(20).toString("hex"),
  };
}

function environment(addresses: Addresses): NodeJS.ProcessEnv {
  const apps = Object.entries(addresses.apps).map(([name, { appId, key, secret }]) => ({
    id: appId,
    key,
    secret,
    ...APPS[name as AppName],
  }));
  const own = Object.entries(process.env).filter(([name]) => !FOREIGN.test(name));
  return {
    ...Object.fromEntries(own),
    PYTHONPATH: [REPOSITORY, join(REPOSITORY, "auth")].join(":"),
    PYTHONUNBUFFERED: "1",
    BROADCASTER_APP_ID: addresses.appId,
    BROADCASTER_APP_KEY: addresses.key,
    BROADCASTER_APP_SECRET: addresses.secret,
    BROADCASTER_APP_ENCRYPTION_KEY: addresses.encryptionKey,
    BROADCASTER_APP__LIMITS__SUBSCRIPTION_COUNTS: "true",
    BROADCASTER_APPS: JSON.stringify(apps),
    BROADCASTER_GATEWAY__PORT: String(addresses.gatewayPort),
    // A member who closes the page is gone soon, and a drain does not last.
    BROADCASTER_GATEWAY__PRESENCE_GRACE: "0.5",
    BROADCASTER_GATEWAY__DRAIN_SECONDS: "0.5",
  };
}

// Above the ports of the Python tests, and below those that systems give to whoever asks for any:
// between choosing one here and listening on it in a child, no connection can come to lie on it.
const [FIRST_PORT, LAST_PORT] = [30_800, 32_767];
const chosen = new Set<number>();

async function freePort(): Promise<number> {
  for (let turn = 0; turn < LAST_PORT - FIRST_PORT; turn += 1) {
    const port = randomInt(FIRST_PORT, LAST_PORT + 1);
    if (!chosen.has(port) && (await isFree(port))) {
      chosen.add(port);
      return port;
    }
  }
  throw new Error(`no port from ${FIRST_PORT} to ${LAST_PORT} is free`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const probe = createServer();
    probe.once("error", () => done(false));
    probe.listen(port, "127.0.0.1", () => probe.close(() => done(true)));
  });
}
