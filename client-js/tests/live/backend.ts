/**
 * A backend in Node, as a user of the npm library `pusher` writes it: pages with stock clients,
 * and the endpoints that sign. A bearer token is simply a name.
 */

import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";

import PusherServer from "pusher";

/** Whose backend it is, and where the gateway listens. */
export interface Credentials {
  gatewayPort: number;
  appId: string;
  key: string;
  secret: string;
  encryptionKey: string;
}

/** The npm server library, as a Node backend uses it. */
export function serverLibrary({ gatewayPort, appId, key, secret, encryptionKey }: Credentials): PusherServer {
  return new PusherServer({
    appId,
    key,
    secret,
    host: "127.0.0.1",
    port: String(gatewayPort),
    useTLS: false,
    encryptionMasterKeyBase64: encryptionKey,
  });
}

const resolve = createRequire(import.meta.url).resolve;
const SCRIPTS: Record<string, string> = {
  "/pusher.js": "pusher-js/dist/web/pusher.js",
  "/pusher-with-encryption.js": "pusher-js/dist/web/pusher-with-encryption.js",
  "/echo.iife.js": "laravel-echo/iife",
};
const PAGES: Record<string, string> = {
  "/plain": '<!doctype html><script src="/pusher.js"></script>',
  "/encrypted": '<!doctype html><script src="/pusher-with-encryption.js"></script><script src="/echo.iife.js"></script>',
};

interface Answer {
  status: number;
  type: string;
  body: string;
}

export class Backend {
  private constructor(
    private readonly library: PusherServer,
    private readonly server: Server,
  ) {}

  static async start(credentials: Credentials): Promise<Backend> {
    const server = createServer((request, response) => {
      void backend.answer(request).then(({ status, type, body }) => {
        response.writeHead(status, { "content-type": type }).end(body);
      });
    });
    const backend = new Backend(serverLibrary(credentials), server);
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return backend;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }

  private async answer(request: IncomingMessage): Promise<Answer> {
    const path = new URL(request.url ?? "/", this.url).pathname;
    const script = SCRIPTS[path];
    if (script) {
      return { status: 200, type: "text/javascript", body: readFileSync(resolve(script), "utf8") };
    }
    if (request.method !== "POST") {
      return { status: PAGES[path] ? 200 : 404, type: "text/html", body: PAGES[path] ?? "" };
    }
    const fields = await read(request);
    const user = request.headers.authorization?.replace("Bearer ", "") ?? fields.get("user") ?? "nobody";
    const answer = path.endsWith("/user-auth") ? this.signUser(user, fields) : this.signChannel(user, fields);
    return answer
      ? { status: 200, type: "application/json", body: JSON.stringify(answer) }
      : { status: 403, type: "application/json", body: '{"error":"not allowed"}' };
  }

  /** Everybody may enter every channel, but for those with "denied" in their names. */
  private signChannel(user: string, fields: URLSearchParams): object | undefined {
    const [socket, channel] = [fields.get("socket_id") ?? "", fields.get("channel_name") ?? ""];
    if (channel.includes("denied")) {
      return undefined;
    }
    const isMember = channel.startsWith("presence-") && fields.get("member") !== "signed-in";
    const member = isMember ? { user_id: user, user_info: { name: user } } : undefined;
    return this.library.authorizeChannel(socket, channel, member);
  }

  private signUser(user: string, fields: URLSearchParams): object | undefined {
    if (user === "nobody") {
      return undefined;
    }
    const watchlist = fields.get("watchlist")?.split(",");
    const data = { id: user, user_info: { name: user }, ...(watchlist ? { watchlist } : {}) };
    return this.library.authenticateUser(fields.get("socket_id") ?? "", data);
  }
}

async function read(request: IncomingMessage): Promise<URLSearchParams> {
  let body = "";
  for await (const part of request) {
    body += String(part);
  }
  return new URLSearchParams(body);
}
