/** Ship an order and follow it: HTTP, queue, worker, socket. */

import { $, bound, el, ms } from "./dom.js";
import { userOf } from "./identity.js";

const SHIPMENTS_KEPT = 3;
const PATIENCE = 10_000;
const SOMEONE = "mallory";

const STEPS = [
  ["http", "HTTP 202"],
  ["queued", "Queued"],
  ["worker", "Worker"],
  ["received", "Received"],
];

/** Listen to the user's own orders and serve the form; returns `setMembers(list)`. */
export function startOrders({ echo, user, request }) {
  const shipments = new Map();
  let next = 1000 + Math.floor(performance.timeOrigin % 9000);

  $("orders-channel").textContent = `private-orders.${user.id}`;
  echo
    .private(`orders.${user.id}`)
    .listen("OrderPacked", (event) => shipmentOf(shipments, event).worked(event))
    .listen("OrderShipped", (event) => shipmentOf(shipments, event).received(event));

  $("order-form").addEventListener("submit", (event) => {
    event.preventDefault();
    void ship({ user, request, shipments, orderId: (next += 1) });
  });
  $("peek").addEventListener("click", () => peek(echo, user));

  const setMembers = (members) => showCustomers(members, user);
  setMembers([user]);
  return setMembers;
}

async function ship({ user, request, shipments, orderId }) {
  const customer = $("customer").value;
  const leftOut = $("to-others").checked;
  const shipment = new Shipment(orderId, { customer, user, leftOut });
  shipments.set(orderId, shipment);
  try {
    const response = await request(`/orders/${orderId}/ship`, { customer, to_others: leftOut });
    const answered = performance.now();
    const answer = await response.json();
    if (response.ok) {
      shipment.accepted(answer, answered);
    } else {
      shipment.failed(`HTTP ${response.status}`, answer.error?.message ?? "refused");
    }
  } catch (error) {
    shipment.failed("no answer", error.message);
  }
}

/** Somebody else may have shipped it: then this tab learns of it by its first event. */
function shipmentOf(shipments, event) {
  if (!shipments.has(event.order_id)) {
    shipments.set(event.order_id, new Shipment(event.order_id, { byOthers: true }));
  }
  return shipments.get(event.order_id);
}

class Shipment {
  constructor(orderId, { customer, user, leftOut = false, byOthers = false }) {
    this.started = performance.now();
    this.mine = byOthers || customer === user.id;
    this.expectsEvent = byOthers || (this.mine && !leftOut);
    this.byOthers = byOthers;
    this.verdict = el("span", { class: "verdict" }, "on its way");
    this.steps = new Map(
      STEPS.map(([key, title]) => [
        key,
        el("li", { class: "step", dataset: { step: key } }, el("strong", {}, title), el("span", { class: "ms" }, "…")),
      ]),
    );
    const whose = byOthers ? "shipped from another tab" : this.mine ? "for you" : `for ${userOf(customer).name}`;
    this.element = el(
      "li",
      { class: "shipment fresh", dataset: { order: orderId } },
      el("div", { class: "shipment-head" }, `Order #${orderId}`, el("span", { class: "quiet" }, whose), this.verdict),
      el("ol", { class: "steps" }, ...this.steps.values()),
    );
    $("shipments").prepend(this.element);
    bound($("shipments"), SHIPMENTS_KEPT, { oldest: "last" });
    if (byOthers) {
      this.skip("http", "elsewhere");
      this.skip("queued", "elsewhere");
    }
    if (!this.expectsEvent) {
      this.skip("received", this.mine ? "left out" : "theirs alone");
    }
    if (!this.mine) {
      this.skip("worker", "theirs alone");
    }
    this.timer = setTimeout(() => this.giveUp(), PATIENCE);
  }

  accepted({ queued_ms: queued }, answered) {
    this.done("http", ms(answered - this.started));
    this.done("queued", `${ms(queued)} in Redis`);
    if (!this.expectsEvent) {
      this.finish("yes", this.mine ? "sent to your other tabs" : "sent to their tabs only");
    }
  }

  worked({ pid }) {
    this.done("worker", this.byOthers ? `pid ${pid}` : `${ms(this.elapsed())}, pid ${pid}`);
  }

  received() {
    const elapsed = this.elapsed();
    this.done("received", this.byOthers ? "just now" : ms(elapsed));
    this.finish("yes", this.byOthers ? "received" : `received in ${ms(elapsed)}`);
  }

  failed(what, why) {
    this.mark("http", "failed", what);
    this.finish("no", why);
  }

  giveUp() {
    if (!this.element.dataset.done) {
      this.finish("no", "nothing arrived; is a worker running?");
    }
  }

  done(key, text) {
    this.mark(key, "done", text);
  }

  skip(key, text) {
    this.mark(key, "skipped", text);
  }

  mark(key, state, text) {
    const step = this.steps.get(key);
    step.dataset.state = state;
    step.lastElementChild.textContent = text;
  }

  finish(done, verdict) {
    clearTimeout(this.timer);
    this.element.dataset.done = done;
    this.verdict.textContent = verdict;
  }

  elapsed() {
    return performance.now() - this.started;
  }
}

function showCustomers(members, user) {
  const chosen = $("customer").value || user.id;
  const ids = [user.id, ...members.map(({ id }) => id).filter((id) => id !== user.id)];
  if (!ids.includes(chosen)) {
    ids.push(chosen);
  }
  $("customer").replaceChildren(
    ...ids.map((id) =>
      el("option", { value: id, selected: id === chosen }, id === user.id ? `${userOf(id).name} (you)` : userOf(id).name),
    ),
  );
}

/** Ask for a channel that is not ours, to see the refusal arrive at `.error()`. */
function peek(echo, user) {
  const other = [...$("customer").options].map(({ value }) => value).find((id) => id !== user.id) ?? SOMEONE;
  const result = $("peek-result");
  result.replaceChildren();
  echo.leave(`orders.${other}`);
  echo.private(`orders.${other}`).error(({ status, type }) => {
    result.replaceChildren(
      el("code", {}, `${status} ${type}`),
      `: the backend does not let ${user.name} listen to `,
      el("code", {}, `private-orders.${other}`),
    );
    echo.leave(`orders.${other}`);
  });
}
