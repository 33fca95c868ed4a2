import { fileURLToPath } from 'node:url';
import tseslint from 'typescript-eslint';

/** The arrows between rooms: what each folder may import of the others. */
const arrows = {
  signing: [],
  'cache-server': ['signing'],
  substituter: ['signing'],
  builder: ['signing', 'substituter'],
  'builder/src/eval': ['signing'],
  deploy: ['signing', 'substituter', 'builder', 'cache-server'],
  test: ['signing', 'substituter', 'builder', 'cache-server', 'deploy'],
};
const rooms = ['signing', 'substituter', 'builder', 'cache-server', 'deploy', 'test'];

const zones = Object.entries(arrows).map(([folder, allowed]) => {
  const own = folder.split('/')[0];
  const banned = rooms.filter((room) => room !== own && !allowed.includes(room));
  return {
    files: [`${folder}/**/*.ts`, `${folder}/**/*.tsx`],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              group: ['../../../*'],
              message: 'No climbing: import the package by its name or move the file.',
            },
            ...(banned.length === 0
              ? []
              : [
                  {
                    group: banned.map((room) => `@larder/${room}/*`),
                    message: `${folder} may import only ${allowed.join(', ') || 'itself'} (see CONTRIBUTING, rooms and arrows).`,
                  },
                ]),
          ],
        },
      ],
    },
  };
});

export default tseslint.config(
  { ignores: ['**/dist/**', '**/node_modules/**', '**/*.js', '**/*.mjs'] },
  {
    files: ['**/*.ts', '**/*.tsx'],
    languageOptions: {
      parser: tseslint.parser,
      parserOptions: {
        projectService: true,
        tsconfigRootDir: fileURLToPath(new URL('.', import.meta.url)),
      },
    },
    plugins: { '@typescript-eslint': tseslint.plugin },
    rules: {
      '@typescript-eslint/no-floating-promises': [
        'error',
        // node:test's own test() and describe() are awaited by its runner.
        {
          allowForKnownSafeCalls: [
            { from: 'package', package: 'node:test', name: ['test', 'it', 'describe', 'suite'] },
          ],
        },
      ],
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/return-await': ['error', 'in-try-catch'],
    },
  },
  ...zones,
);
