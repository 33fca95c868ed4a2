import { test } from 'node:test';
import { killServerDuring } from './server-kill.js';

// With the other fault tests that makes fifty.
test("kill -9 of the server during 'larder push', 13 times: what was acknowledged stays, nothing partial shows", (t) =>
  killServerDuring(t, 'larder push', 13));
