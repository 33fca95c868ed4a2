// The container's health: whether the server in it would take requests. The image has neither a shell nor curl.
const [, host, port] = /^(.*):(\d+)$/.exec(process.env.LARDER_LISTEN ?? '') ?? [];
const own = host === undefined || host === '0.0.0.0' || host === '[::]' ? '127.0.0.1' : host;
const answer = await fetch(`http://${own}:${port ?? 8080}/readyz`, {
  signal: AbortSignal.timeout(4000),
}).catch((error) => ({ ok: false, status: String(error.cause ?? error) }));
if (!answer.ok) console.error(`not ready: ${answer.status}`);
process.exitCode = answer.ok ? 0 : 1;
