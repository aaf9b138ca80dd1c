/** The demo page: sign in, connect, start the three cards. */

import { startChat } from "./chat.js";
import { connect } from "./connection.js";
import { $ } from "./dom.js";
import { askForName, currentUser, secondTabAddress, showUser } from "./identity.js";
import { startInspector } from "./inspector.js";
import { startOrders } from "./orders.js";

const user = currentUser();

$("second-tab").addEventListener("click", () => {
  // noopener also gives the new tab its own sessionStorage, so its own name.
  window.open(secondTabAddress(user), "_blank", "noopener");
});

if (user) {
  showUser(user);
  for (const id of ["stage", "connection", "second-tab"]) {
    $(id).hidden = false;
  }
  startInspector(window.wire);
  try {
    const { echo, request } = await connect(user);
    const setMembers = startOrders({ echo, user, request });
    startChat({ echo, user, request, onMembers: setMembers });
    window.echo = echo; // for the curious, and the console
  } catch (error) {
    $("connection").dataset.state = "failed";
    $("connection-text").textContent = error.message;
    throw error;
  }
} else {
  askForName();
}
