// pg-boss 12, by its pages on workers (batchSize, burstWhenBatchFull, LISTEN/NOTIFY) and queues (partition, notify):
// https://timgit.github.io/pg-boss/api/workers and https://timgit.github.io/pg-boss/introduction

import { PgBoss } from "pg-boss";

import { main, notes } from "./program.mjs";

const NOOP = "noop";
const NOTE = "note";
const BATCH = 1000;

async function started(dsn, options) {
  const boss = new PgBoss({ connectionString: dsn, ...options });
  boss.on("error", console.error);
  return await boss.start();
}

main({
  package: "pg-boss",
  settings: `batchSize ${BATCH}, burstWhenBatchFull, useListenNotify, queues with partition and notify; insert()`,

  async setup(dsn) {
    const boss = await started(dsn);
    for (const queue of [NOOP, NOTE]) await boss.createQueue(queue, { partition: true, notify: true });
    await boss.stop();
  },

  async submitter(dsn) {
    const boss = await started(dsn, { supervise: false, schedule: false });
    return {
      many: (count) => boss.insert(NOOP, Array.from({ length: count }, () => ({}))),
      one: (number) => boss.send(NOTE, { number }),
      close: () => boss.stop(),
    };
  },

  async work(dsn) {
    const boss = await started(dsn, { useListenNotify: true });
    const options = { batchSize: BATCH, burstWhenBatchFull: true };
    await boss.work(NOOP, options, async (jobs) => {
      for (const _ of jobs) notes.run();
    });
    await boss.work(NOTE, options, async (jobs) => {
      for (const job of jobs) notes.pick(job.data.number);
    });
  },
});
