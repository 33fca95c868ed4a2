import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { describeError } from '../http/errors.js';
import { isOutage } from './outage.js';
import { openPostgres } from './postgresql.js';
import { openSqlite } from './sqlite.js';

test('a database that nobody answers for is an outage, and clients are told to come again', async () => {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  const query = async (): Promise<unknown> => {
    const { write } = openPostgres(
      { url: `postgres://larder@127.0.0.1:${port}/larder`, connections: 2 },
      undefined,
    );
    try {
      return await write.selectFrom('caches').select('id').execute();
    } catch (error) {
      return error;
    } finally {
      await write.destroy();
    }
  };
  assert.ok(isOutage(await query()), 'one that hangs up');
  await new Promise((resolve) => server.close(resolve));
  const refused = await query();
  assert.ok(isOutage(refused), 'one that is not there');
  const { status, headers, body } = describeError(refused, 'r');
  assert.deepEqual([status, headers['Retry-After'], body.error.code], [503, '5', 'database-failed']);
});

test('a query for a table that is not there is none', async () => {
  const { write } = openSqlite(':memory:', undefined);
  const error = await write
    .selectFrom('caches')
    .select('id')
    .execute()
    .catch((caught: unknown) => caught);
  await write.destroy();
  assert.ok(error instanceof Error);
  assert.ok(!isOutage(error));
  assert.equal(describeError(error, 'r').status, 500);
});
