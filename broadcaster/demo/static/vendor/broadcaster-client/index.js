export { echoOptions } from "./echo-options.js";
export { socketIdFetch, } from "./socket-id-fetch.js";
