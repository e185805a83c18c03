/**
 * Of one lithium-ion cell with a cathode of nickel, manganese or cobalt, under about a third of its capacity an hour:
 * volts at its poles and the share that can still be drawn, as manufacturers' data sheets have it, within about 8 points.
 */
const LOADED_CELL: readonly (readonly [number, number])[] = [
  [3.2, 0],
  [3.4, 0.03],
  [3.5, 0.1],
  [3.6, 0.22],
  [3.7, 0.37],
  [3.8, 0.53],
  [3.9, 0.67],
  [4.0, 0.84],
  [4.15, 1],
]
/** One cell, or two in series. More of them cannot be told from other chemistries by their voltage. */
const CELLS: readonly { readonly count: number; readonly low: number; readonly high: number }[] = [
  { count: 1, low: 2.9, high: 4.35 },
  { count: 2, low: 5.9, high: 8.7 },
]

/** Share left of a lithium-ion battery of one or two cells by its voltage under load; undefined for any other voltage. */
export function emptyingShare(volts: number): number | undefined {
  const cells = CELLS.find(({ low, high }) => volts >= low && volts <= high)
  if (cells === undefined) return undefined
  const each = volts / cells.count
  const first = LOADED_CELL[0]!
  if (each <= first[0]) return first[1]
  for (let i = 1; i < LOADED_CELL.length; i++) {
    const [low, lowShare] = LOADED_CELL[i - 1]!
    const [high, highShare] = LOADED_CELL[i]!
    if (each <= high) return lowShare + ((each - low) / (high - low)) * (highShare - lowShare)
  }
  return 1
}
