import type { FC } from 'hono/jsx';
import { queryUsageDays, type UsageDaysTable } from '../database/tables/usage-days.js';
import type { CacheRoute } from '../http/route.js';
import type { Services } from '../http/services.js';
import { CacheHead } from './cache-page.js';
import { Figures, sendPage } from './page.js';
import { formatCount, formatSize, Size } from './units.js';

const DAYS = 30;
const DAY = 86_400_000;

/** How much a cache was used, day by day. */
export function usageRoute(services: Services): CacheRoute {
  return {
    method: 'GET',
    path: '/:cache/usage',
    access: ['pull'],
    isPage: true,
    about: {
      summary: 'How much a cache was used, as a page',
      group: 'pages',
      answers: { 200: { what: 'The page', type: 'text/html' } },
    },
    async handle(context, { cache }) {
      const days = lastDays();
      const rows = await queryUsageDays(services.database.read, cache.id, days[0] ?? '');
      const byDay = new Map(rows.map((row) => [row.day, row]));
      const body = (
        <>
          <CacheHead cache={cache} current="Usage" />
          <Usage days={days.map((day) => byDay.get(day) ?? { ...NOTHING, cache_id: cache.id, day })} />
        </>
      );
      return sendPage(context, services, { title: `Usage – ${cache.name}`, cache, body });
    },
  };
}

const NOTHING = { lookups: 0, hits: 0, nars: 0, bytes_sent: 0, uploads: 0, bytes_received: 0 };

function lastDays(): string[] {
  const now = Date.now();
  return Array.from({ length: DAYS }, (_, at) =>
    new Date(now - (DAYS - 1 - at) * DAY).toISOString().slice(0, 10),
  );
}

type Counter = keyof typeof NOTHING;

const Usage: FC<{ days: readonly UsageDaysTable[] }> = ({ days }) => {
  const sum = (name: Counter): number => days.reduce((total, day) => total + day[name], 0);
  const lookups = sum('lookups');
  if (lookups + sum('uploads') === 0)
    return <p class="none">Nobody asked for anything in the last {DAYS} days.</p>;
  return (
    <>
      <p class="lead">The last {DAYS} days, up to a few seconds ago. Days are in UTC.</p>
      <Figures
        of={[
          ['paths asked for', formatCount(lookups)],
          ['of them found', lookups === 0 ? '–' : `${((100 * sum('hits')) / lookups).toFixed(1)} %`],
          ['NARs sent', formatCount(sum('nars'))],
          ['sent', <Size bytes={sum('bytes_sent')} />],
          ['NARs taken in', formatCount(sum('uploads'))],
          ['received', <Size bytes={sum('bytes_received')} />],
        ]}
      />
      <h2>Requests</h2>
      <p class="key">
        <span>
          <Swatch />
          paths found
        </span>
        <span>
          <Swatch second />
          asked for, and not here
        </span>
      </p>
      <Chart days={days} label="Requests by day" of="hits" under="lookups" format={formatCount} />
      <h2>Sent</h2>
      <Chart days={days} label="Bytes sent by day" of="bytes_sent" format={formatSize} />
      <h2>Received</h2>
      <Chart days={days} label="Bytes received by day" of="bytes_received" format={formatSize} />
      <DayTable days={days} />
    </>
  );
};

const Swatch: FC<{ second?: boolean }> = ({ second = false }) => (
  <svg class="chart" viewBox="0 0 10 10" aria-hidden="true">
    <rect class={second ? 'second' : ''} width="10" height="10" rx="2" />
  </svg>
);

interface ChartProps {
  readonly days: readonly UsageDaysTable[];
  readonly label: string;
  readonly of: Counter;
  /** What the bars are a part of. */
  readonly under?: Counter;
  readonly format: (value: number) => string;
}

const WIDTH = 1000;
const HEIGHT = 150;
const STEP = WIDTH / DAYS;

const Chart: FC<ChartProps> = ({ days, label, of, under, format }) => {
  const most = Math.max(1, ...days.map((day) => day[under ?? of]));
  const height = (value: number): number => (value === 0 ? 0 : Math.max(1.5, (HEIGHT * value) / most));
  return (
    <svg class="chart" viewBox={`0 -14 ${WIDTH} ${HEIGHT + 34}`} role="img" aria-label={label}>
      <line x1="0" x2={WIDTH} y1="0" y2="0" stroke-dasharray="2 4" />
      <line x1="0" x2={WIDTH} y1={HEIGHT} y2={HEIGHT} />
      <text x="0" y="-4">
        {format(most)}
      </text>
      {days.map((day, at) => {
        const whole = under === undefined ? undefined : height(day[under]);
        return (
          <g>
            <title>
              {`${day.day}: ${format(day[of])}${under === undefined ? '' : ` of ${format(day[under])}`}`}
            </title>
            {whole !== undefined && <Column at={at} height={whole} second />}
            <Column at={at} height={height(day[of])} />
            <rect class="hit" x={fixed(at * STEP)} y="0" width={fixed(STEP)} height={HEIGHT} />
            {at % 7 === (DAYS - 1) % 7 && (
              <text
                x={fixed(at * STEP + STEP / 2)}
                y={HEIGHT + 16}
                text-anchor={at === DAYS - 1 ? 'end' : 'middle'}
              >
                {day.day.slice(5)}
              </text>
            )}
          </g>
        );
      })}
    </svg>
  );
};

const Column: FC<{ at: number; height: number; second?: boolean }> = ({ at, height, second = false }) => (
  <rect
    class={second ? 'second' : ''}
    x={fixed(at * STEP + STEP * 0.14)}
    y={fixed(HEIGHT - height)}
    width={fixed(STEP * 0.72)}
    height={fixed(height)}
    rx="2"
  />
);

function fixed(value: number): string {
  return value.toFixed(1);
}

const DayTable: FC<{ days: readonly UsageDaysTable[] }> = ({ days }) => (
  <details class="way">
    <summary>The same in figures</summary>
    <div class="table">
      <table>
        <thead>
          <tr>
            <th scope="col">Day</th>
            {['Asked for', 'Found', 'NARs sent', 'Sent', 'Taken in', 'Received'].map((name) => (
              <th scope="col" class="number">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {[...days].reverse().map((day) => (
            <tr>
              <td>{day.day}</td>
              <td class="number">{formatCount(day.lookups)}</td>
              <td class="number">{formatCount(day.hits)}</td>
              <td class="number">{formatCount(day.nars)}</td>
              <td class="number">{formatSize(day.bytes_sent)}</td>
              <td class="number">{formatCount(day.uploads)}</td>
              <td class="number">{formatSize(day.bytes_received)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  </details>
);
