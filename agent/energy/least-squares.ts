const MAX_ROUNDS = 10_000
const TOLERANCE = 1e-12

/**
 * Coefficients x ≥ 0 that make the sum of squares of `rows·x − values` least, by coordinate descent on the normal
 * equations: they are convex, so it converges, and five unknowns need no more. Columns are scaled first, for bytes and
 * watts differ by nine orders of magnitude. Columns of zeros get 0.
 */
export function nonNegativeLeastSquares(rows: readonly (readonly number[])[], values: readonly number[]): number[] {
  const width = rows[0]?.length ?? 0
  const scales = Array.from({ length: width }, (_, j) => Math.sqrt(rows.reduce((sum, row) => sum + row[j]! ** 2, 0)))
  const gram = Array.from({ length: width }, () => new Float64Array(width))
  const right = new Float64Array(width)
  rows.forEach((row, i) => {
    for (let j = 0; j < width; j++) {
      if (scales[j] === 0) continue
      const scaled = row[j]! / scales[j]!
      right[j]! += scaled * values[i]!
      for (let k = 0; k < width; k++) if (scales[k] !== 0) gram[j]![k]! += (scaled * row[k]!) / scales[k]!
    }
  })
  const x = new Float64Array(width)
  const size = Math.max(...right.map(Math.abs), Number.MIN_VALUE)
  for (let round = 0; round < MAX_ROUNDS; round++) {
    let moved = 0
    for (let j = 0; j < width; j++) {
      if (scales[j] === 0) continue
      let gradient = right[j]!
      for (let k = 0; k < width; k++) gradient -= gram[j]![k]! * x[k]!
      const next = Math.max(0, x[j]! + gradient / gram[j]![j]!)
      moved = Math.max(moved, Math.abs(next - x[j]!))
      x[j] = next
    }
    if (moved <= TOLERANCE * size) break
  }
  return Array.from(x, (value, j) => (scales[j] === 0 ? 0 : value / scales[j]!))
}
