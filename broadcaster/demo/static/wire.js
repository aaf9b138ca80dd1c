/*
 * Records what goes over the wire: wraps WebSocket and XMLHttpRequest before pusher-js
 * takes them, so that pusher-js itself stays as it was published.
 *
 * A classic script: it has to run before the next one. It offers `window.wire`, an
 * EventTarget whose "entry" events carry
 *   { direction: "in" | "out" | "note", transport: "ws" | "http", text, status?, method?, path? }
 */
"use strict";

(() => {
  const wire = new EventTarget();
  const note = (entry) =>
    wire.dispatchEvent(
      new CustomEvent("entry", { detail: { at: performance.now(), time: new Date(), ...entry } }),
    );

  class RecordedWebSocket extends WebSocket {
    constructor(address, protocols) {
      super(address, protocols);
      this.addEventListener("message", ({ data }) =>
        note({ direction: "in", transport: "ws", text: String(data) }),
      );
      this.addEventListener("close", ({ code, reason }) =>
        note({ direction: "note", transport: "ws", text: `closed with ${code} ${reason}`.trim() }),
      );
    }

    send(data) {
      note({ direction: "out", transport: "ws", text: String(data) });
      super.send(data);
    }
  }

  class RecordedRequest extends XMLHttpRequest {
    open(method, address, ...rest) {
      const path = new URL(address, location.href).pathname;
      this.addEventListener("loadend", () =>
        note({ direction: "in", transport: "http", method, path, status: this.status, text: this.responseText }),
      );
      this.recorded = { method, path };
      super.open(method, address, ...rest);
    }

    send(body) {
      note({ direction: "out", transport: "http", ...this.recorded, text: body ? String(body) : "" });
      super.send(body);
    }
  }

  window.WebSocket = RecordedWebSocket;
  window.XMLHttpRequest = RecordedRequest;
  window.wire = wire;

  /** For requests made with fetch. */
  wire.record = async (send, address, init = {}) => {
    const request = { transport: "http", method: init.method ?? "GET", path: address };
    note({ ...request, direction: "out", text: init.body ?? "" });
    const response = await send(address, init);
    const { status } = response;
    // Beside the caller, who need not wait for it.
    response.clone().text().then((text) => note({ ...request, direction: "in", status, text }), () => {});
    return response;
  };
})();
