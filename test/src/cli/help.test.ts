import assert from 'node:assert/strict';
import { test } from 'node:test';
import { verbs } from '@larder/deploy/cli/verbs';

type AnyCommand = ReturnType<Awaited<ReturnType<(typeof verbs)[string]['load']>>['createCommand']>;

for (const [name, verb] of Object.entries(verbs)) {
  test(`larder ${name} --help, and that of all below it, says what it is for and shows an example`, async () => {
    const module = await verb.load();
    for (const { path, command } of withSubcommands(module.createCommand(), [])) {
      const help = helpOf(command);
      assert.notEqual(command.description(), '', path);
      assert.match(help, /^Examples?:$/m, path);
      // Each example is a comment and a command that starts as this one is called.
      assert.match(help, new RegExp(`^ {2}\\$ .*larder ${path}`, 'm'), path);
    }
  });
}

/** A verb and its subcommands, with how each is called. */
function withSubcommands(
  command: AnyCommand,
  above: readonly string[],
): readonly { readonly path: string; readonly command: AnyCommand }[] {
  const path = [...above, command.name()];
  const below = command.commands.flatMap((each) => withSubcommands(each as AnyCommand, path));
  return [{ path: path.join(' '), command }, ...below];
}

function helpOf(command: AnyCommand): string {
  let text = '';
  command.configureOutput({
    writeOut: (chunk) => {
      text += chunk;
    },
  });
  command.outputHelp();
  return text;
}
