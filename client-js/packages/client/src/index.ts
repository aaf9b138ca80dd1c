export { echoOptions, type EchoConnection } from "./echo-options.js";
export {
  socketIdFetch,
  type SocketIdFetchOptions,
  type SocketIdSource,
} from "./socket-id-fetch.js";
