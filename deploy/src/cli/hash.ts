import { createReadStream } from 'node:fs';
import {
  type Hash,
  type HashAlgorithm,
  type HashNotation,
  hashAlgorithms,
  hashStream,
  parseHash,
} from '@larder/signing/hash';
import { writeNar } from '@larder/signing/nar-writer';
import { type Command, Option } from 'commander';
import { createVerb } from './command.js';

interface HashOptions {
  readonly algorithm: HashAlgorithm;
  readonly to: HashNotation;
}

export function createCommand(): Command {
  const hash = createVerb('hash', {
    summary: "Hash files and trees as Nix does, and convert between a hash's notations.",
    examples: [
      ['larder hash path ./result', "the NAR hash of a tree, as 'nix hash path' prints it"],
      [
        'larder hash convert --to nix32 sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=',
        'the same hash in Nix base-32',
      ],
    ],
  });
  hash.addCommand(overFiles('path', 'Hash the NAR of files and trees.', (path) => writeNar(path)));
  hash.addCommand(overFiles('file', 'Hash the bytes of files.', (path) => createReadStream(path)));
  hash.addCommand(convert());
  return hash;
}

const notation = (): Option =>
  new Option('--to <notation>', 'how to write it')
    .choices(['nix32', 'base16', 'base64', 'sri'])
    .default('sri');

function overFiles(
  name: string,
  summary: string,
  open: (path: string) => AsyncIterable<Uint8Array>,
): Command {
  return createVerb(name, {
    summary,
    examples: [[`larder hash ${name} --to base16 flake.nix`, 'in base-16']],
  })
    .argument('<path...>', 'what to hash')
    .addOption(
      new Option('--algorithm <name>', 'the hash algorithm').choices(hashAlgorithms).default('sha256'),
    )
    .addOption(notation())
    .action(async (paths: string[], { algorithm, to }: HashOptions) => {
      for (const path of paths) print((await hashStream(algorithm, open(path))).hash, to);
    });
}

function convert(): Command {
  return createVerb('convert', {
    summary: 'Write hashes in another notation. Base-16, Nix base-32 and base-64 are told apart by length.',
    examples: [
      [
        'larder hash convert --to base16 sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s',
        'from Nix base-32',
      ],
    ],
  })
    .argument('<hash...>', "as 'sha256:…', 'sha256-…', or bare with --algorithm")
    .addOption(new Option('--algorithm <name>', 'the algorithm of bare hashes').choices(hashAlgorithms))
    .addOption(notation())
    .action((hashes: string[], { algorithm, to }: Partial<HashOptions>) => {
      for (const text of hashes) print(parseHash(text, algorithm), to ?? 'sri');
    });
}

/** Only SRI carries the algorithm, as Nix's own commands print. */
function print(hash: Hash, to: HashNotation): void {
  process.stdout.write(`${hash.format(to, { prefix: false })}\n`);
}
