// Graphile Worker. Concurrency, pool, local queue and batching are those of the fastest configuration that it documents:
// https://worker.graphile.org/docs/performance ("With batching", 0.17), NO_LOG_SUCCESS too is what its own test sets.

import { main, notes } from "./program.mjs";

process.env.NO_LOG_SUCCESS = "1"; // is read when the package is loaded
const { makeWorkerUtils, run } = await import("graphile-worker");

function preset(dsn) {
  return {
    worker: {
      connectionString: dsn,
      concurrentJobs: 24,
      maxPoolSize: 25,
      localQueue: { size: 500 },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
    },
  };
}

main({
  package: "graphile-worker",
  settings: "concurrentJobs 24, localQueue 500, completeJobBatchDelay 0, failJobBatchDelay 0; addJobs()",

  async setup(dsn) {
    const utils = await makeWorkerUtils({ preset: preset(dsn) });
    await utils.migrate();
    await utils.release();
  },

  async submitter(dsn) {
    const utils = await makeWorkerUtils({ preset: preset(dsn) });
    return {
      many: (count) => utils.addJobs(Array.from({ length: count }, () => ({ identifier: "noop", payload: {} }))),
      one: (number) => utils.addJob("note", { number }),
      close: () => utils.release(),
    };
  },

  async work(dsn) {
    await run({
      preset: preset(dsn),
      taskList: {
        noop: () => notes.run(),
        note: ({ number }) => notes.pick(number),
      },
    });
  },
});
