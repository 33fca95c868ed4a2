import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { validate } from 'dockerfile-utils';
import { needsComponent } from '../engines/components.js';
import { freePort, makeScratch } from '../engines/scratch.js';
import { replayImage } from './image.js';
import { packaged } from './packaging.js';

test('the Dockerfile has nothing that a linter minds', async () => {
  const text = await readFile(packaged('docker/Dockerfile'), 'utf8');
  const problems = validate(text);
  assert.deepEqual(
    problems.map(({ message, range }) => `${range.start.line + 1}: ${message}`),
    [],
  );
  assert.notDeepEqual(validate('FROM scratch\nCOPPY a b\n'), [], 'the check finds mistakes');
});

/**
 * There is no container engine here. The instructions are replayed instead: the last stage from nothing but what its COPY lines
 * name, run as its user, with its entry point and environment, on a root that cannot be written to. With LARDER_IMAGE_BUILD=1
 * the stages before it are replayed as well, `npm ci` and the compilers included; else this clone's modules and build take
 * their place.
 */
test('the image serves, from the files it has alone, and says that it is healthy', async (t) => {
  if (!needsComponent(t, 'sandbox')) return;
  await using scratch = await makeScratch('image');
  const image = await replayImage(packaged('docker/Dockerfile'), scratch);
  const port = await freePort();
  const container = await image.run({ LARDER_LISTEN: `127.0.0.1:${port}` });
  try {
    const deadline = Date.now() + 120_000;
    while (
      !(await fetch(`http://127.0.0.1:${port}/readyz`).then(
        (answer) => answer.ok,
        () => false,
      ))
    ) {
      assert.ok(container.exitCode === null && Date.now() < deadline, await container.output());
      await delay(100);
    }
    const cache = await fetch(`http://127.0.0.1:${port}/main/nix-cache-info`);
    assert.match(await cache.text(), /^StoreDir: \/nix\/store$/m);
    assert.equal(await image.checkHealth({ LARDER_LISTEN: `127.0.0.1:${port}` }), 0);
    assert.equal(await image.checkHealth({ LARDER_LISTEN: '127.0.0.1:1' }), 1);
  } finally {
    assert.equal(await container.stop(), 0, await container.output());
  }
});
