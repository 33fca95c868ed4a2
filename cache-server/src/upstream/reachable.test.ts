import assert from 'node:assert/strict';
import { test } from 'node:test';
import { network } from '../config-units.js';
import { ReachableAddresses } from './reachable.js';

const INTERNAL = [
  ...['0.0.0.0', '10.1.2.3', '100.64.0.1', '127.0.0.1', '127.255.255.255', '169.254.169.254', '172.16.0.1'],
  ...['172.31.255.255', '192.168.1.1', '192.0.0.192', '198.18.0.1', '224.0.0.1', '255.255.255.255'],
  ...[
    '::',
    '::1',
    'fe80::1',
    'fe80::1%eth0',
    'fc00::1',
    'fd00:ec2::254',
    'ff02::1',
    '2001:db8::1',
    '::7f00:1',
  ],
  // IPv4 in other clothes: mapped, NAT64, 6to4, Teredo.
  ...['::ffff:127.0.0.1', '::ffff:a9fe:a9fe', '64:ff9b::10.0.0.1', '64:ff9b::a9fe:a9fe', '2002:7f00:1::'],
  ...['2001:0:4136:e378:8000:63bf:3fff:fdd2', '64:ff9b:1::1'],
  ...['', 'localhost', '127.1', '0x7f000001', '2130706433'],
];
const PUBLIC = [
  ...[
    '1.1.1.1',
    '9.255.255.255',
    '11.0.0.1',
    '172.15.0.1',
    '172.32.0.1',
    '192.167.1.1',
    '100.128.0.1',
    '223.1.1.1',
  ],
  ...['2606:4700::1111', '2a04:4e42::1', '::ffff:1.1.1.1', '64:ff9b::1.1.1.1', '3ffe::1'],
];

test('only public addresses are reachable, in whatever form they are written', () => {
  const reachable = new ReachableAddresses();
  for (const address of INTERNAL) assert.equal(reachable.has(address), false, address);
  for (const address of PUBLIC) assert.equal(reachable.has(address), true, address);
});

test('the operator lists others', () => {
  const reachable = new ReachableAddresses(
    ['10.0.0.0/8', '::1', 'fd00::/16'].map((text) => network.parse(text)),
  );
  for (const address of ['10.9.9.9', '::ffff:10.9.9.9', '::1', 'fd00:1::2', '1.1.1.1'])
    assert.equal(reachable.has(address), true, address);
  for (const address of ['127.0.0.1', '192.168.1.1', 'fd01::1'])
    assert.equal(reachable.has(address), false, address);
});

test('networks are addresses with a prefix, or addresses', () => {
  assert.deepEqual(network.parse('10.0.0.0/8'), { address: '10.0.0.0', prefix: 8, family: 'ipv4' });
  assert.deepEqual(network.parse('::1'), { address: '::1', prefix: 128, family: 'ipv6' });
  for (const text of ['10/8', '10.0.0.0/33', '::/129', 'localhost', '10.0.0.0/', '1.1.1.1/08x', ''])
    assert.equal(network.safeParse(text).success, false, text);
});
