/**
 * `fetch` that tells the backend which connection is asking.
 *
 * Laravel Echo adds the `X-Socket-ID` header to axios, jQuery and Turbo requests, but not
 * to `fetch`. Without it the backend cannot know whom `to_others` should leave out, and
 * the sender receives their own event.
 */
const HEADER = "X-Socket-ID";
/**
 * Make a `fetch` that sends `X-Socket-ID` to the page's own origin and to `origins`.
 *
 * A header that the caller set stays as it is. While there is no socket id (not connected
 * yet), and for every other origin, the request goes out unchanged. The id is read at each
 * request, so it is right after a reconnect.
 *
 * @param source Echo, a Pusher instance, a function, or a socket id.
 * @param options the underlying `fetch`, or an object with `fetch` and `origins`.
 * @throws TypeError if an entry of `origins` is not an http(s) origin.
 */
export function socketIdFetch(source, options = {}) {
    const { fetch: given, origins = [] } = typeof options === "function" ? { fetch: options } : options;
    // Taken now: the result may be installed as the global fetch, and must not call itself.
    const send = given ?? globalThis.fetch;
    const allowed = new Set(origins.map(asOrigin));
    return (input, init) => {
        const id = readSocketId(source);
        if (!id || !mayKnow(input, allowed)) {
            return send(input, init);
        }
        // As fetch does it: headers of init replace those of a Request altogether.
        const headers = new Headers(init?.headers ?? (isRequest(input) ? input.headers : undefined));
        if (headers.has(HEADER)) {
            return send(input, init);
        }
        headers.set(HEADER, id);
        return send(input, { ...init, headers });
    };
}
function readSocketId(source) {
    if (source === null || source === undefined || typeof source === "string") {
        return source;
    }
    if (typeof source === "function") {
        return source();
    }
    return "socketId" in source ? source.socketId() : source.connection.socket_id;
}
function mayKnow(input, allowed) {
    let url;
    try {
        url = new URL(isRequest(input) ? input.url : input, baseAddress());
    }
    catch {
        return false; // fetch will say what is wrong with this address
    }
    if (url.protocol !== "http:" && url.protocol !== "https:") {
        return false;
    }
    return url.origin === globalThis.location?.origin || allowed.has(url.origin);
}
function baseAddress() {
    return globalThis.document?.baseURI ?? globalThis.location?.href;
}
/** By shape: a Request of another realm (an iframe, a polyfill) is one too. */
function isRequest(input) {
    return typeof input === "object" && "url" in input && "headers" in input;
}
function asOrigin(text) {
    let url;
    try {
        url = new URL(text);
    }
    catch {
        url = undefined;
    }
    if (!url || !/^https?:$/.test(url.protocol) || url.pathname !== "/" || url.search || url.hash) {
        throw new TypeError(`origins: ${JSON.stringify(text)} is not an origin; write it like "https://api.example.com"`);
    }
    return url.origin;
}
