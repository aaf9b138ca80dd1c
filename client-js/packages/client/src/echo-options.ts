/** Options that make stock Echo talk to a broadcaster gateway, and to nobody else. */

/** The part of Echo's options that says where the gateway is. */
export interface EchoConnection {
  broadcaster: "pusher";
  key: string;
  /** Required by pusher-js, unused when `wsHost` is given. */
  cluster: "";
  wsHost: string;
  wsPort: number;
  wssPort: number;
  /** What stands before `/app` in the address; empty for none. */
  wsPath: string;
  forceTLS: boolean;
  /** Without this pusher-js falls back to HTTP transports at its vendor's host. */
  enabledTransports: ["ws", "wss"];
}

/**
 * Read Echo's connection options from one address.
 *
 * @param address `ws[s]://host[:port][/prefix]/app/KEY`; `http[s]` is taken as `ws[s]`.
 * @param overrides further Echo options (`authEndpoint`, `bearerToken`, ...); they win.
 * @throws TypeError if the address has another shape.
 */
export function echoOptions<Overrides extends object = object>(
  address: string | URL,
  overrides?: Overrides,
): EchoConnection & Overrides {
  const url = new URL(address);
  const path = /^(?<prefix>.*)\/app\/(?<key>[^/]+)\/?$/.exec(url.pathname)?.groups;
  const scheme = /^(?:ws|http)(?<tls>s?):$/.exec(url.protocol)?.groups;
  if (!path || !scheme) {
    throw new TypeError(
      `${JSON.stringify(String(address))} is no gateway address; ` +
        'write it like "wss://ws.example.com/app/KEY"',
    );
  }
  const tls = scheme["tls"] === "s";
  const port = url.port ? Number(url.port) : tls ? 443 : 80;
  const connection: EchoConnection = {
    broadcaster: "pusher",
    key: decodeURIComponent(path["key"] ?? ""),
    cluster: "",
    wsHost: url.hostname,
    wsPort: port,
    wssPort: port,
    wsPath: path["prefix"] ?? "",
    forceTLS: tls,
    enabledTransports: ["ws", "wss"],
  };
  return { ...connection, ...(overrides as Overrides) };
}
