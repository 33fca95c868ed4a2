import type { FC } from 'hono/jsx';
import type { Cache } from '../caches/cache.js';
import type { FoundPath } from './search.js';
import { Ago, Size } from './units.js';

/** The page of a path. */
export function pathUrl(cache: Cache, hashPart: string, ...rest: string[]): string {
  return ['', cache.name, 'path', hashPart, ...rest].join('/');
}

/** Paths, one a row. */
export const PathTable: FC<{ cache: Cache; paths: readonly FoundPath[] }> = ({ cache, paths }) => (
  <div class="table">
    <table>
      <thead>
        <tr>
          <th scope="col">Path</th>
          <th scope="col" class="number">
            Size
          </th>
          <th scope="col">Came</th>
        </tr>
      </thead>
      <tbody data-rows="">
        {paths.map(({ hash_part, name, nar_size, created_at }) => (
          <tr>
            <td class="wide">
              <a href={pathUrl(cache, hash_part)}>
                <span class="name">{name}</span> <span class="mono">{hash_part.slice(0, 8)}</span>
              </a>
            </td>
            <td class="number">
              <Size bytes={nar_size} />
            </td>
            <td class="when">
              <Ago time={created_at} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);
