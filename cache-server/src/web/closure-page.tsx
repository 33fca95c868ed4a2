import type { FC } from 'hono/jsx';
import type { Cache } from '../caches/cache.js';
import type { CacheRoute } from '../http/route.js';
import type { Services } from '../http/services.js';
import { parsePublished } from '../publish/narinfo-text.js';
import { type Closure, type ClosureNode, queryClosure } from './closure.js';
import { computeShares, type Share } from './dominators.js';
import { findPath } from './find-path.js';
import { sendPage } from './page.js';
import { PathHead } from './path-page.js';
import { pathUrl } from './path-table.js';
import { layOutTreemap, type Rectangle } from './treemap.js';
import { Bar, counted, formatSize, Size } from './units.js';

const MAX_TILES = 60;
const MAX_ROWS = 100;
const AREA = { x: 0, y: 0, width: 1000, height: 460 };
/** Of the whole: what is smaller is not to be seen. */
const LEAST_TILE = 1e-5;
const HUES = 8;
/** Average width of a letter of the tiles' text. */
const LETTER = 8;

/** What makes a closure big. */
export function closureRoute(services: Services): CacheRoute {
  return {
    method: 'GET',
    path: '/:cache/path/:hash/closure',
    access: ['pull'],
    isPage: true,
    about: {
      summary: "What makes a path's closure big, as a page",
      group: 'pages',
      answers: { 200: { what: 'The page', type: 'text/html' } },
    },
    async handle(context, { cache }) {
      const row = await findPath(services, cache, context);
      const info = parsePublished(row.narinfo, cache.storeDir);
      const closure = await queryClosure(services.database, cache.id, row.hash_part);
      const body = (
        <>
          <PathHead cache={cache} info={info} current="Closure" />
          {closure !== undefined && <Contributors cache={cache} closure={closure} />}
        </>
      );
      return sendPage(context, services, { title: `${row.name}: closure`, cache, body });
    },
  };
}

const Contributors: FC<{ cache: Cache; closure: Closure }> = ({ cache, closure }) => {
  const bySize = [...closure.nodes.values()].sort((left, right) => right.size - left.size);
  const shares = computeShares(closure);
  return (
    <>
      <p class="lead">
        {formatSize(closure.size)} in {counted(closure.nodes.size, 'path')}
        {closure.isCut && ', and more that was not followed'}. Larger tiles are larger paths.
      </p>
      <Treemap cache={cache} closure={closure} nodes={bySize} />
      <h2>
        Largest paths <small>and what would go with each: all that is needed through it alone</small>
      </h2>
      <div class="table">
        <table>
          <thead>
            <tr>
              <th scope="col">Path</th>
              <th scope="col" class="number">
                Size
              </th>
              <th scope="col" class="number">
                Would go with it
              </th>
              <th scope="col">Of the closure</th>
            </tr>
          </thead>
          <tbody data-rows="">
            {rank(bySize, shares).map(({ node, share }) => (
              <tr>
                <td class="wide">
                  <a href={pathUrl(cache, node.hashPart)}>
                    <span class="name">{node.name}</span>{' '}
                    <span class="mono">{node.hashPart.slice(0, 8)}</span>
                  </a>
                </td>
                <td class="number">
                  <Size bytes={node.size} />
                </td>
                <td class="number">
                  <Size bytes={share.retained} />
                </td>
                <td>
                  <Bar part={share.retained} whole={closure.size} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {closure.nodes.size > MAX_ROWS && <p class="soft">The largest {MAX_ROWS} are shown.</p>}
    </>
  );
};

interface Ranked {
  readonly node: ClosureNode;
  readonly share: Share;
}

/** By what would go with each; the path itself, with which everything goes, comes first. */
function rank(nodes: readonly ClosureNode[], shares: ReadonlyMap<string, Share>): Ranked[] {
  return nodes
    .flatMap((node) => {
      const share = shares.get(node.hashPart);
      return share === undefined ? [] : [{ node, share }];
    })
    .sort((left, right) => right.share.retained - left.share.retained || right.node.size - left.node.size)
    .slice(0, MAX_ROWS);
}

const Treemap: FC<{ cache: Cache; closure: Closure; nodes: readonly ClosureNode[] }> = ({
  cache,
  closure,
  nodes,
}) => {
  const least = closure.size * LEAST_TILE;
  const shown = nodes.slice(0, MAX_TILES).filter(({ size }) => size > least);
  const rest = closure.size - shown.reduce((sum, { size }) => sum + size, 0);
  const sizes = rest > least ? [...shown.map(({ size }) => size), rest] : shown.map(({ size }) => size);
  // What is left over may be larger than the last of them: rectangles want falling sizes.
  const order = sizes.map((_, at) => at).sort((left, right) => (sizes[right] ?? 0) - (sizes[left] ?? 0));
  const rectangles = layOutTreemap(
    order.map((at) => sizes[at] ?? 0),
    AREA,
  );
  return (
    <nav aria-label="The closure's paths, by size">
      {/* biome-ignore lint/a11y/noSvgWithoutTitle: every tile has a title of its own, and the navigation around it a name */}
      <svg class="treemap" viewBox={`0 0 ${AREA.width} ${AREA.height}`}>
        {rectangles.map((rectangle, at) => {
          const node = shown[order[at] ?? 0];
          return node === undefined ? (
            <Tile
              rectangle={rectangle}
              name={counted(nodes.length - shown.length, 'smaller path')}
              size={rest}
              hue="rest"
            />
          ) : (
            <a href={pathUrl(cache, node.hashPart)}>
              <Tile rectangle={rectangle} name={node.name} size={node.size} hue={`hue${at % HUES}`} />
            </a>
          );
        })}
      </svg>
    </nav>
  );
};

const Tile: FC<{ rectangle: Rectangle; name: string; size: number; hue: string }> = ({
  rectangle: { x, y, width, height },
  name,
  size,
  hue,
}) => {
  const letters = Math.floor((width - 14) / LETTER);
  const isNamed = letters >= 5 && height >= 24;
  return (
    <>
      <title>{`${name}, ${formatSize(size)}`}</title>
      <rect class={hue} x={fixed(x)} y={fixed(y)} width={fixed(width)} height={fixed(height)} />
      {isNamed && (
        <text x={fixed(x + 8)} y={fixed(y + 18)}>
          {name.length > letters ? `${name.slice(0, letters - 1)}…` : name}
        </text>
      )}
      {isNamed && height >= 42 && width >= 74 && (
        <text class="size" x={fixed(x + 8)} y={fixed(y + 34)}>
          {formatSize(size)}
        </text>
      )}
    </>
  );
};

function fixed(value: number): string {
  return value.toFixed(1);
}
