import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Machine, needsExample } from './machine.js';

/** Settings that start at line 2 of the configuration, and what the user must be told of them. */
const cases: readonly {
  name: string;
  settings: readonly string[];
  head?: string;
  told: readonly RegExp[];
}[] = [
  {
    name: 'an option that does not exist',
    settings: ['services.sshd.enabel = true;'],
    told: [
      /the option `services\.sshd\.enabel' does not exist/,
      /configuration\.nix:2:1/,
      /There is: services\.sshd\.enable/,
    ],
  },
  {
    name: 'an option below one',
    settings: ['services.sshd.enable.really = true;'],
    told: [/`services\.sshd\.enable' must be true or false/, /configuration\.nix:2:1/],
  },
  {
    name: 'a value of the wrong type',
    settings: ['services.sshd.enable = true;', 'services.sshd.port = "22";'],
    told: [/`services\.sshd\.port' must be a port number/, /the string "22", at .*configuration\.nix:3:1/],
  },
  {
    name: 'a wrong type inside a submodule',
    settings: ['users.users.alice = {', '  uid = "many";', '};'],
    told: [/`users\.users\.alice\.uid' must be a whole number/, /configuration\.nix:3:3/],
  },
  {
    name: 'an unknown option inside a submodule',
    settings: ['fileSystems."/data".devise = "/dev/sdb1";'],
    told: [/`fileSystems\."\/data"\.devise' does not exist/, /configuration\.nix:2:1/],
  },
  {
    name: 'two definitions that contradict each other',
    settings: ['imports = [ { networking.hostName = "a"; } ];', 'networking.hostName = "b";'],
    told: [
      /`networking\.hostName' is set to different values/,
      /configuration\.nix:2:15/,
      /configuration\.nix:3:1/,
    ],
  },
  {
    name: 'a failed assertion',
    settings: ['services.sshd.enable = true;', 'services.sshd.port = 0;'],
    told: [/the configuration is refused/, /`services\.sshd\.port' is set at .*configuration\.nix:3:1/],
  },
  {
    name: 'an option that nothing sets',
    settings: ['users.users.alice = { };'],
    told: [
      /`users\.users\.alice\.uid' is needed, but nothing sets it/,
      /for example: users\.users\.alice\.uid = 1000;/,
    ],
  },
  {
    name: 'infinite recursion',
    head: '{ config, ... }:\n',
    settings: ['networking.hostName = config.networking.hostName + "x";'],
    told: [
      /infinite recursion encountered/,
      /while evaluating the option `networking\.hostName' \(set at .*configuration\.nix:3:1\)/,
    ],
  },
  {
    name: 'an error of the language',
    settings: ['networking.hostName = toString (1 + "1");'],
    told: [/while evaluating the option `networking\.hostName' \(set at .*configuration\.nix:2:1\)/],
  },
  {
    name: 'a syntax error',
    settings: ['networking.hostName = ;'],
    told: [/syntax error/, /configuration\.nix:2:23/],
  },
];

test('errors in a configuration name the option, and the file and line that set it', async (t) => {
  if (!needsExample(t)) return;
  await using machine = await Machine.create();
  const base = ['boot.loader.grub.device = "/dev/sda";', 'fileSystems."/".device = "/dev/sda1";'];
  for (const evaluator of ['larder', 'nix']) {
    for (const { name, settings, head, told } of cases) {
      await t.test(`${name}, evaluated by ${evaluator}`, async () => {
        await machine.configure([...settings, ...base], head);
        const { status, stderr } = await machine.tryRebuild('dry-build', '--evaluator', evaluator);
        assert.equal(status, 1);
        for (const each of told) assert.match(stderr, each);
        assert.doesNotMatch(stderr, /node:internal|\.js:\d+/);
      });
    }
  }
});
