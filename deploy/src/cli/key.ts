import { readFile, writeFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { SecretKey } from '@larder/signing/key';
import type { Command } from 'commander';
import { createVerb } from './command.js';

export function createCommand(): Command {
  const key = createVerb('key', {
    summary: "Make signing keys, in Nix's own form.",
    examples: [
      [
        'larder key generate --name cache.example.org-1 --out key.secret',
        'make a key; the public half goes to standard output',
      ],
      ['larder key public < key.secret', 'show the public half of a key'],
    ],
  });
  key.addCommand(generate());
  key.addCommand(publicKey());
  return key;
}

function generate(): Command {
  return createVerb('generate', {
    summary: 'Make a key and write the secret half to a file, or to standard output.',
    examples: [
      [
        'larder key generate --name cache.example.org-1 --out key.secret',
        'write key.secret (mode 0600), print the public key',
      ],
    ],
  })
    .requiredOption('--name <name>', "the key's name: by custom the cache's host and a number")
    .option(
      '--out <file>',
      'write the secret key there (mode 0600, never over an existing file) and print the public key',
    )
    .action(async ({ name, out }: { name: string; out?: string }) => {
      const key = SecretKey.generate(name);
      if (out === undefined) {
        process.stdout.write(`${key.format()}\n`);
        return;
      }
      await writeFile(out, `${key.format()}\n`, { mode: 0o600, flag: 'wx' });
      process.stdout.write(`${key.publicKey().format()}\n`);
    });
}

function publicKey(): Command {
  return createVerb('public', {
    summary: 'Print the public half of a secret key.',
    examples: [['larder key public key.secret', 'what goes into trusted-public-keys']],
  })
    .argument('[file]', 'the secret key; standard input without it')
    .action(async (file: string | undefined) => {
      const secret = file === undefined ? await text(process.stdin) : await readFile(file, 'utf8');
      process.stdout.write(`${SecretKey.parse(secret).publicKey().format()}\n`);
    });
}
