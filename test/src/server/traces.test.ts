import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { TestServer } from './running.js';
import { bare, samplePath } from './sample-path.js';

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly attributes: readonly { readonly key: string; readonly value: Record<string, unknown> }[];
  readonly status?: { readonly code?: number };
}

interface Export {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: Span['attributes'] };
    readonly scopeSpans: readonly { readonly spans: readonly Span[] }[];
  }[];
}

/** A receiver of OTLP over HTTP (https://opentelemetry.io/docs/specs/otlp/). */
async function startReceiver(): Promise<{ server: Server; url: string; exports: Export[] }> {
  const exports: Export[] = [];
  const server = createServer((incoming, outgoing) => {
    void json(incoming).then((body) => {
      exports.push(body as Export);
      outgoing.writeHead(200, { 'Content-Type': 'application/json' }).end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`, exports };
}

const sample = samplePath('traced');

test('a request is a span with its storage and database below it, on the trace of its caller', async () => {
  const { server: receiver, url, exports } = await startReceiver();
  try {
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
    const traceparent = `00-${traceId}-00f067aa0ba902b7-01`;
    {
      await using server = await TestServer.start({
        toml: `[traces]\nendpoint = "${url}"\nservice = "cache"`,
      });
      const file = `/main/nar/${bare(sample.narHash)}.nar`;
      assert.equal((await server.put(file, sample.nar, { traceparent })).status, 204);
      await (await server.fetch(`/main/nar/${bare(sample.narHash)}.nar.zst`)).arrayBuffer();
      // Stopping sends what has not been sent.
    }
    const [resource] = exports.flatMap(({ resourceSpans }) => resourceSpans.map((each) => each.resource));
    assert.deepEqual(resource?.attributes.find(({ key }) => key === 'service.name')?.value, {
      stringValue: 'cache',
    });
    const spans = exports.flatMap(({ resourceSpans }) =>
      resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)),
    );
    const put = spans.find((span) => span.name === 'PUT /{cache}/nar/{file}');
    assert.equal(put?.traceId, traceId);
    assert.equal(put?.parentSpanId, '00f067aa0ba902b7');
    const below = spans.filter((span) => span.parentSpanId === put?.spanId).map(({ name }) => name);
    for (const name of ['storage stage', 'storage publish', 'database insert'])
      assert.ok(below.includes(name), `${name} in ${below.join()}`);
    const get = spans.find((span) => span.name === 'GET /{cache}/nar/{file}');
    assert.notEqual(get?.traceId, traceId);
    const status = get?.attributes.find(({ key }) => key === 'http.response.status_code')?.value;
    assert.deepEqual(status, { intValue: 200 });
  } finally {
    receiver.close();
  }
});

test('without an endpoint nothing of OpenTelemetry is loaded but its interfaces, which prom-client names', async () => {
  const program = `
    import { createRequire } from 'node:module';
    import { openTraces } from '@larder/cache-server/observe/traces';
    import '@larder/cache-server/start';
    const { cache } = createRequire(import.meta.url);
    const loaded = () => Object.keys(cache).filter((file) => /@opentelemetry.(?!api.)/.test(file)).length;
    const options = { service: 'x', sample: 1 };
    const off = await openTraces({ traces: options });
    const before = loaded();
    const on = await openTraces({ traces: { ...options, endpoint: 'http://127.0.0.1:9/' } });
    console.log(JSON.stringify({ off: off === undefined, before, after: loaded() > 0 }));
    await on[Symbol.asyncDispose]();
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], {
    cwd: import.meta.dirname,
  });
  assert.deepEqual(JSON.parse(stdout), { off: true, before: 0, after: true });
});
