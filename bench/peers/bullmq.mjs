// Measures BullMQ on a Redis that is already there: `node bullmq.mjs PORT TASKS`.
//
// Prints one measurement a line, as `crates/engine/examples/bench.rs` does for Unknot, and under the
// same names. One process holds the producer and one worker, as in an embedded engine.

import { readFileSync } from 'node:fs';
import { FlowProducer, Queue, Worker } from 'bullmq';

/** Jobs that one call of `addBulk` takes: as many as Unknot's bench has under way at once. */
const WINDOW = 256;
/** Jobs, one after the other, of which the latency is taken. */
const SAMPLES = 1_000;

const [port, tasks] = process.argv.slice(2).map(Number);
const connection = { host: '127.0.0.1', port };
/** Completed jobs are not kept: that is faster, and a queue that is never tidied would be no one's. */
const options = { connection, removeOnComplete: { count: 0 } };
const { version } = JSON.parse(readFileSync(new URL('node_modules/bullmq/package.json', import.meta.url)));

const say = (what, unit, value, how) => {
  const about = { who: `BullMQ ${version}`, durability: 'none: Redis without persistence' };
  console.log(JSON.stringify({ ...about, what, unit, value, with: how }));
};

const noOp = async () => {};

const rate = (runs, start) => (runs * 1_000) / (performance.now() - start);

/** Adds `runs` copies of `job`, a window at a time; a queue and a flow producer are filled alike. */
const addAll = async (producer, job, runs) => {
  for (let added = 0; added < runs; added += WINDOW) {
    await producer.addBulk(Array(Math.min(WINDOW, runs - added)).fill(job));
  }
};

/** A promise of the moment at which Redis has acknowledged `runs` completions of jobs named `name`. */
const completed = (worker, name, runs) =>
  new Promise((resolve) => {
    worker.on('completed', (job) => {
      if (job.name === name && --runs === 0) resolve();
    });
  });

/** Ends it all at the first error: a client that has lost its Redis would try again for ever. */
const strict = (client) => {
  for (const event of ['error', 'failed']) {
    client.on(event, (...about) => {
      console.error('bullmq:', ...about);
      process.exit(1);
    });
  }
  return client;
};

/** Fills a queue, then times one worker that empties it: the rates of both. */
const burnDown = async ({ job, last }, slots, runs) => {
  const queue = strict(new Queue('burn-down', { connection }));
  const producer = job.children ? strict(new FlowProducer({ connection })) : queue;
  const worker = strict(new Worker('burn-down', noOp, { ...options, concurrency: slots, autorun: false }));
  await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);
  let start = performance.now();
  await addAll(producer, job, runs);
  const added = rate(runs, start);
  const done = completed(worker, last, runs);
  start = performance.now();
  worker.run();
  await done;
  const burned = rate(runs, start);
  await worker.close();
  await queue.obliterate({ force: true });
  await Promise.all([queue.close(), producer.close()]);
  return { added, burned };
};

/** From `add` to the completion of that one job, nothing else going on. */
const latency = async () => {
  const queue = strict(new Queue('latency', { connection }));
  const worker = strict(new Worker('latency', noOp, { ...options, concurrency: 16 }));
  await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);
  const taken = [];
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    const done = new Promise((resolve) => worker.once('completed', resolve));
    const start = performance.now();
    await queue.add('task', {});
    await done;
    taken.push(performance.now() - start);
  }
  taken.sort((left, right) => left - right);
  const at = (share) => taken[SAMPLES * share];
  say('one task, idle', 'p50_ms', at(0.5), { p99_ms: at(0.99), runs: SAMPLES });
  await Promise.all([worker.close(), queue.close()]);
};

const task = { job: { name: 'task', data: {} }, last: 'task' };
// The parent waits for its child: a chain of three, of which the innermost runs first.
const step = (name, children) => ({ name, queueName: 'burn-down', data: {}, ...(children && { children }) });
const chain = { job: step('third', [step('second', [step('first')])]), last: 'third' };

for (const slots of [16, 64]) {
  for (const [what, jobs, runs] of [['no-op tasks', task, tasks], ['3-task workflows', chain, Math.floor(tasks / 3)]]) {
    await burnDown(jobs, slots, Math.ceil(runs / 10));
    const { added, burned } = await burnDown(jobs, slots, runs);
    say('submissions', 'runs_per_s', added, { of: what, runs, window: WINDOW });
    say(what, 'runs_per_s', burned, { slots, runs, shape: 'burn-down' });
  }
}
await latency();
