/** Options that make stock Echo talk to a broadcaster gateway, and to nobody else. */
/**
 * Read Echo's connection options from one address.
 *
 * @param address `ws[s]://host[:port][/prefix]/app/KEY`; `http[s]` is taken as `ws[s]`.
 * @param overrides further Echo options (`authEndpoint`, `bearerToken`, ...); they win.
 * @throws TypeError if the address has another shape.
 */
export function echoOptions(address, overrides) {
    const url = new URL(address);
    const path = /^(?<prefix>.*)\/app\/(?<key>[^/]+)\/?$/.exec(url.pathname)?.groups;
    const scheme = /^(?:ws|http)(?<tls>s?):$/.exec(url.protocol)?.groups;
    if (!path || !scheme) {
        throw new TypeError(`${JSON.stringify(String(address))} is no gateway address; ` +
            'write it like "wss://ws.example.com/app/KEY"');
    }
    const tls = scheme["tls"] === "s";
    const port = url.port ? Number(url.port) : tls ? 443 : 80;
    const connection = {
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
    return { ...connection, ...overrides };
}
