import { parseArgs } from 'node:util';
import { soak } from './soak.js';

/** How much more memory the last eighth of a run may take than the fifth: caches go on filling, nothing else may. */
const GROWTH = 1.25;

/** `npm run soak [-- --minutes N]`. Returns the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: { minutes: { type: 'string', default: '10' } } });
  const result = await soak({ seconds: Number(values.minutes) * 60, interval: 15, log: console.log });
  console.log(JSON.stringify(result, null, 2));
  const [first = 0] = result.memory;
  const isFlat = (result.memory.at(-1) ?? 0) <= first * GROWTH;
  if (!isFlat) console.error(`memory grew: ${result.memory.join(', ')} MB`);
  return result.faults.length === 0 && isFlat ? 0 : 1;
}
