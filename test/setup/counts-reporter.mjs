/** A node:test reporter that writes one JSON object: how many tests passed and failed, which were skipped and why. */
export default async function* countsReporter(source) {
  const counts = { passed: 0, failed: 0, skipped: [] };
  const secondsByFile = new Map();
  for await (const { type, data } of source) {
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    // Node wraps each file in a test of its own, and describe() reports too: count the leaves, and files that fail to load.
    const isFile = data.name === data.file || data.name.endsWith('.test.js');
    if (isFile || data.nesting === 0) addSeconds(secondsByFile, data);
    if (data.details?.type === 'suite' || (isFile && type === 'test:pass')) continue;
    if (type === 'test:fail') {
      // A parent that fails because its subtests did is not a failure of its own.
      if (data.details?.error?.failureType !== 'subtestsFailed') counts.failed += 1;
    } else if (data.skip !== undefined && data.skip !== false) {
      counts.skipped.push({ name: data.name, reason: typeof data.skip === 'string' ? data.skip : '' });
    } else {
      counts.passed += 1;
    }
  }
  const slowest = [...secondsByFile]
    .sort(([, left], [, right]) => right - left)
    .slice(0, 5)
    .map(([file, seconds]) => ({ file, seconds: Number(seconds.toFixed(1)) }));
  yield JSON.stringify({ ...counts, slowest });
}

function addSeconds(secondsByFile, { file, details }) {
  if (file === undefined) return;
  secondsByFile.set(file, (secondsByFile.get(file) ?? 0) + (details?.duration_ms ?? 0) / 1000);
}
