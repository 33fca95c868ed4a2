/** SQLSTATE classes and codes of PostgreSQL that say the server is away, starting, stopping, or has no room for more. */
const AWAY = /^(08...|53...|57P0[1-5])$/;
/** What sockets end with. */
const SOCKET = /^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)$/;
/** What SQLite says while another process writes for long, or the disk is full or failing. */
const SQLITE = /^SQLITE_(BUSY|LOCKED|FULL|IOERR|CANTOPEN)/;
/** pg has no codes for these. */
const MESSAGES =
  /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/;

/** Whether a query failed because the database is away: the same may go well later. */
export function isOutage(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return (
    AWAY.test(code) ||
    SOCKET.test(code) ||
    SQLITE.test(code) ||
    MESSAGES.test(error.message) ||
    // Several addresses were tried.
    (error instanceof AggregateError && error.errors.some(isOutage))
  );
}
