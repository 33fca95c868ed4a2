import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freePort } from '../engines/scratch.js';
import { TestServer } from './running.js';
import { bare, samplePath } from './sample-path.js';

const sample = samplePath('measured');

/** The value of a series, 0 while there is none. */
function readSeries(text: string, name: string, labels: Record<string, string>): number {
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  return lines
    .filter((line) => Object.entries(labels).every(([label, value]) => line.includes(`${label}="${value}"`)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

test('what clients did shows in the metrics', async () => {
  await using server = await TestServer.start();
  const nar = `/main/nar/${bare(sample.narHash)}.nar`;
  assert.equal((await server.put(nar, sample.nar)).status, 204);
  for (const suffix of ['.zst', '.zst', '.zst.missing'])
    await (await fetch(`${server.url}${nar}${suffix}`)).arrayBuffer();
  await (await fetch(`${server.url}/made-up-name/nix-cache-info`)).arrayBuffer();

  const answer = await server.fetch('/metrics');
  assert.match(answer.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  const text = await answer.text();
  const route = '/{cache}/nar/{file}';
  assert.equal(readSeries(text, 'larder_http_requests_total', { method: 'PUT', route, status: '204' }), 1);
  assert.equal(readSeries(text, 'larder_lookups_total', { cache: 'main', route, result: 'hit' }), 2);
  assert.equal(readSeries(text, 'larder_lookups_total', { cache: 'main', route, result: 'miss' }), 1);
  assert.ok(readSeries(text, 'larder_received_bytes_total', { cache: 'main' }) > sample.nar.length);
  assert.ok(readSeries(text, 'larder_sent_bytes_total', { cache: 'main' }) > 0);
  assert.equal(readSeries(text, 'larder_nars_received_total', { cache: 'main' }), 1);
  assert.equal(readSeries(text, 'larder_nar_bytes_total', { form: 'unpacked' }), sample.nar.length);
  assert.ok(readSeries(text, 'larder_storage_seconds_count', { operation: 'publish', result: 'ok' }) >= 1);
  assert.ok(readSeries(text, 'larder_database_seconds_count', { kind: 'insert', result: 'ok' }) >= 1);
  assert.match(text, /^larder_nar_jobs_waiting 0$/m);
  assert.match(text, /^nodejs_eventloop_lag_seconds /m);
  assert.ok(!text.includes('made-up-name'), 'names that strangers make up are no series');
});

test('metrics are for administrators, and for who reaches their own port', async () => {
  const port = await freePort();
  await using server = await TestServer.start({ toml: `[metrics]\nlisten = "127.0.0.1:${port}"` });
  assert.equal((await fetch(`${server.url}/metrics`)).status, 401);
  const own = await fetch(`http://127.0.0.1:${port}/metrics`);
  assert.equal(own.status, 200);
  assert.match(await own.text(), /larder_http_requests_total/);
  const elsewhere = await fetch(`http://127.0.0.1:${port}/api/v1/caches`);
  assert.equal(elsewhere.status, 404);
  await elsewhere.arrayBuffer();
});

test('turned off they are not there', async () => {
  await using server = await TestServer.start({ toml: '[metrics]\nenabled = false' });
  const answer = await server.fetch('/metrics');
  assert.equal(answer.status, 404);
  await answer.arrayBuffer();
});
