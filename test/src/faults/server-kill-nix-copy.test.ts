import { test } from 'node:test';
import { killServerDuring } from './server-kill.js';

// With the other fault tests that makes fifty.
test("kill -9 of the server during 'nix copy', 12 times: what was acknowledged stays, nothing partial shows", (t) =>
  killServerDuring(t, 'nix copy', 12));
