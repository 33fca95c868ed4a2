export interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/**
 * Divides a rectangle among sizes, largest first, as nearly square as can be: M. Bruls, K. Huizing, J. J. van Wijk,
 * "Squarified Treemaps".
 * @param sizes greater than zero, in falling order
 * @returns a rectangle for each, in the same order
 */
export function layOutTreemap(sizes: readonly number[], area: Rectangle): Rectangle[] {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const scale = (area.width * area.height) / total;
  const result: Rectangle[] = [];
  let free = area;
  for (let at = 0; at < sizes.length; ) {
    const side = Math.min(free.width, free.height);
    let count = 1;
    while (
      at + count < sizes.length &&
      worstRatio(sizes.slice(at, at + count + 1), side, scale) <=
        worstRatio(sizes.slice(at, at + count), side, scale)
    )
      count++;
    const row = sizes.slice(at, at + count);
    free = placeRow(row, free, { scale, result });
    at += count;
  }
  return result;
}

/** Of a row along `side`: the worst of its rectangles' proportions. */
function worstRatio(row: readonly number[], side: number, scale: number): number {
  const sum = row.reduce((total, size) => total + size, 0) * scale;
  const [largest = 0] = row;
  const smallest = row.at(-1) ?? 0;
  return Math.max(
    (side * side * largest * scale) / (sum * sum),
    (sum * sum) / (side * side * smallest * scale),
  );
}

function placeRow(
  row: readonly number[],
  free: Rectangle,
  { scale, result }: { readonly scale: number; readonly result: Rectangle[] },
): Rectangle {
  const sum = row.reduce((total, size) => total + size, 0) * scale;
  const isUpright = free.width >= free.height;
  const depth = sum / (isUpright ? free.height : free.width);
  let offset = 0;
  for (const size of row) {
    const length = (size * scale) / depth;
    result.push(
      isUpright
        ? { x: free.x, y: free.y + offset, width: depth, height: length }
        : { x: free.x + offset, y: free.y, width: length, height: depth },
    );
    offset += length;
  }
  return isUpright
    ? { x: free.x + depth, y: free.y, width: free.width - depth, height: free.height }
    : { x: free.x, y: free.y + depth, width: free.width, height: free.height - depth };
}
