import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { soak } from './soak.js';

/** Half a minute of what `npm run soak` does for ten. */
test('two replicas lose nothing while they, their database and their storage are killed', async (t) => {
  for (const component of ['s3', 'postgresql', 'nginx'] as const) if (!needsComponent(t, component)) return;
  const result = await soak({ seconds: 25, interval: 5 });
  t.diagnostic(JSON.stringify(result));
  assert.deepEqual(result.faults, []);
  assert.ok(result.pushed > 0 && result.kept > 0 && result.collections > 0);
  // On a machine that is slow one of the four may come too late.
  assert.ok(Object.keys(result.kills).length >= 3, 'it was killed that often, and lost nothing');
});
