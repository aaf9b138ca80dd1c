/**
 * The few lines behind a frame: what the Python side says, what the page says, and one
 * sentence. They are what this demo runs, shortened.
 */

const SHIPPED = `@dataclass(frozen=True)
class OrderShipped(ShouldBroadcast):
    order: Order

    def broadcast_on(self):
        name = f"orders.{self.order.customer}"
        return PrivateChannel(name)

await abroadcast(OrderShipped(order))`;

const PACKED = `class PackOrder(Job): # runs in a worker
    order_id: int
    customer: str

    async def handle(self):
        packed = OrderPacked(self.order_id, ...)
        await abroadcast(packed)

await PackOrder(7, "ada").adispatch()`;

const SAID = `@dataclass(frozen=True)
class ChatMessage(ShouldBroadcast):
    room: str
    text: str

    def broadcast_on(self):
        return PresenceChannel(f"chat.{self.room}")

await abroadcast(said, to_others=True)`;

const WAVED = `@dataclass(frozen=True)
class Waved(ShouldBroadcast):
    to: str
    by: dict

    def broadcast_on(self):
        return UserChannel(self.to)

await abroadcast(Waved("grace", member))`;

const SIGN_IN = `echo.connector.signin()
echo.connector.pusher.user
  .bind("App\\\\Events\\\\Waved", show)`;

const OWN_ORDERS = `@channel("orders.{user_id}")
def orders(user, user_id: str):
    return user.id == user_id`;

const ROOM = `@channel("chat.{room}")        # a dict makes a member
def chat(user, room: str):
    return {"id": user.id, "name": user.name}`;

const JOIN = `echo.join("chat.lobby")
  .here(showAll)
  .joining(add)
  .leaving(remove)`;

const CONNECT = `const echo = new Echo({
  broadcaster: "pusher", key, wsHost, wsPort,
  cluster: "", forceTLS: false,
  enabledTransports: ["ws", "wss"],
  bearerToken,
})`;

const POST = `const fetch = socketIdFetch(echo) // adds X-Socket-ID
await fetch("/orders/7/ship", { method: "POST", body })`;

/** @returns {{ why: string, python?: string, js?: string }} what to show beside `entry`. */
export function explain({ kind, name, channel = "", direction, transport }) {
  if (transport === "http") {
    return explainHttp(name, direction);
  }
  if (kind === "event") {
    return explainEvent(name);
  }
  if (name.startsWith("pusher:signin") || channel.startsWith("#server-to-user-")) {
    kind = "user";
  }
  const room = channel.startsWith("presence-");
  const rule = room ? ROOM : channel.startsWith("private-") ? OWN_ORDERS : undefined;
  const rules = {
    whisper: {
      why: "A client event: from browser to browser through the gateway, no backend involved. Only members may send them.",
      js: `channel.whisper("typing", user)\nchannel.listenForWhisper("typing", show)`,
    },
    presence: {
      why: "First tab in, last tab out: decided in Redis for all gateways together, so a second tab of one user is silent.",
      python: ROOM,
      js: JOIN,
    },
    subscribe: {
      why:
        direction === "out"
          ? "The auth string was signed by the backend for this very socket and channel; the gateway checks it without asking anybody."
          : "From here on the gateway delivers this channel to this socket.",
      python: rule,
      js: room ? JOIN : `echo.private("orders." + user.id)\n  .listen("OrderShipped", show)\n  .error(showRefusal)`,
    },
    user: {
      why: "This connection belongs to a user from here on, so that events can be sent to them and others may watch them.",
      js: SIGN_IN,
    },
    system: { why: "Keeping the connection: greeting, heartbeat, errors, closing.", js: CONNECT },
  };
  return rules[kind] ?? { why: "A frame of the Pusher Channels protocol." };
}

function explainEvent(name) {
  if (name.endsWith("OrderPacked")) {
    return {
      why: "The job ran in the worker process and said so itself.",
      python: PACKED,
      js: `.listen("OrderPacked", step)`,
    };
  }
  if (name.endsWith("OrderShipped")) {
    return {
      why: "Queued by the HTTP route, published by the worker, delivered to this customer's sockets only.",
      python: SHIPPED,
      js: `echo.private("orders." + user.id)\n  .listen("OrderShipped", show)`,
    };
  }
  if (name.endsWith("Waved")) {
    return {
      why: "For a user and not for a channel: whoever signed in as them hears it, in every tab and on every gateway.",
      python: WAVED,
      js: SIGN_IN,
    };
  }
  return {
    why: "Sent to everyone in the room but the socket that said it: that one had shown the message already.",
    python: SAID,
    js: `echo.join("chat.lobby")\n  .listen("ChatMessage", show)`,
  };
}

function explainHttp(name, direction) {
  if (name.includes("/broadcasting/auth")) {
    return {
      why:
        direction === "out"
          ? "pusher-js asks the backend whether this user may enter, before it subscribes."
          : "200 carries the signature; 403 is heard by .error() and nothing reaches the gateway.",
      python: `${OWN_ORDERS}\n\n${ROOM}`,
      js: `bearerToken: user.id // a demo's idea of a login`,
    };
  }
  if (name.includes("/broadcasting/user-auth")) {
    return {
      why:
        direction === "out"
          ? "pusher-js asks the backend whose connection this is."
          : "200 carries the signed user; the gateway checks it without asking anybody.",
      js: SIGN_IN,
    };
  }
  if (name.includes("/wave/")) {
    return { why: "202: an event for one user is in the queue.", python: WAVED, js: POST };
  }
  return name.includes("/chat/")
    ? { why: "The message goes to the backend by HTTP; it comes back to the others as an event.", python: SAID, js: POST }
    : {
        why: "202: a job and an event are in the queue. Nothing was published yet.",
        python: `await PackOrder(7, "ada").adispatch()
await abroadcast(
    OrderShipped(order), to_others=to_others
)`,
        js: POST,
      };
}
