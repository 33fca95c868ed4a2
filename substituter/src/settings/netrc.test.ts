import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseNetrc, readNetrc } from './netrc.js';

const basic = (login: string) => `Basic ${Buffer.from(login).toString('base64')}`;

test('logins are found by host, on one line or several, the first for a host counting', () => {
  const netrc = parseNetrc(
    'machine cache.example.org login me password secret\nmachine Other\n  password p#w\n  login you\nmachine other login x password y\n',
  );
  assert.deepEqual(netrc.find('cache.example.org'), { user: 'me', password: 'secret' });
  assert.deepEqual(netrc.find('OTHER'), { user: 'you', password: 'p#w' });
  assert.equal(netrc.find('nowhere'), undefined);
});

test('default stands in for unknown hosts; comments, macros, accounts and quotes are understood', () => {
  const netrc = parseNetrc(
    '# logins\nmachine a account z login "l l" password "q\\"q" # trailing\nmacdef init\nmachine evil login no password no\n\ndefault login anonymous password guest\n',
  );
  assert.deepEqual(netrc.find('a'), { user: 'l l', password: 'q"q' });
  assert.deepEqual(netrc.find('evil'), { user: 'anonymous', password: 'guest' });
});

test('an Authorization header is made of the login; a login in the URL goes first', () => {
  const netrc = parseNetrc('machine h password token');
  assert.equal(netrc.authorization(new URL('http://h:8080/main')), basic(':token'));
  assert.equal(netrc.authorization(new URL('http://u:p%20q@h/')), basic('u:p q'));
  assert.equal(netrc.authorization(new URL('http://other/')), undefined);
});

test('a file that is not there has no logins', () => {
  assert.equal(readNetrc('/nowhere/netrc').find('h'), undefined);
});
