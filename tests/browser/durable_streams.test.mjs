// The conformance suite of Durable Streams, run by vitest against the server of STREAMS_URL. A test
// that waits at the server has TIMEOUT milliseconds.

import { runConformanceTests } from "@durable-streams/server-conformance-tests";

runConformanceTests({
  baseUrl: process.env.STREAMS_URL,
  longPollTimeoutMs: Number(process.env.TIMEOUT),
});
