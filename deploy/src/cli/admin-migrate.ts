import type { Command } from 'commander';
import { createMigrateAtticCommand } from './admin-migrate-attic.js';
import { createMigrateFilesCommand } from './admin-migrate-files.js';
import { createVerb } from './command.js';

/** `larder admin migrate`. */
export function createMigrateCommand(): Command {
  return createVerb('migrate', {
    summary:
      'Take over caches from elsewhere: their paths, verified and stored as uploads are, with the signatures and keys that ' +
      'clients trust. What is read is never changed. Safe beside a running server; begun again, it goes on.',
    examples: [
      [
        'larder admin migrate attic --config /etc/larder.toml --database sqlite:///var/lib/atticd/server.db --storage /var/lib/atticd/storage',
        'an attic server, with all its caches',
      ],
      [
        'larder admin migrate files s3://old-cache?region=eu-central-1 --cache main --config /etc/larder.toml',
        'what nix copy put into a bucket',
      ],
    ],
  })
    .addCommand(createMigrateAtticCommand())
    .addCommand(createMigrateFilesCommand());
}
