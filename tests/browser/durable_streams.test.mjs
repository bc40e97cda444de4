// The conformance suite of Durable Streams, run by vitest against the server of STREAMS_URL.

import { runConformanceTests } from "@durable-streams/server-conformance-tests";

runConformanceTests({ baseUrl: process.env.STREAMS_URL, longPollTimeoutMs: 1000 });
