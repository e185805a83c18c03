/**
 * Usable share of a lithium-ion cell's capacity by temperature at moderate load, as manufacturers' data sheets of 18650
 * cells have it, within about 10 points. Only ratios are used, and the gauge corrects them.
 */
const CAPACITY_BY_CELSIUS: readonly (readonly [number, number])[] = [
  [-20, 0.6],
  [-10, 0.75],
  [0, 0.87],
  [10, 0.94],
  [25, 1],
]

/** What a cell gives at that temperature, as a share of what it gives when it is warm; 1 where it is unknown. */
export function warmth(celsius: number | undefined): number {
  if (celsius === undefined) return 1
  const table = CAPACITY_BY_CELSIUS
  if (celsius <= table[0]![0]) return table[0]![1]
  for (let i = 1; i < table.length; i++) {
    const [low, lowShare] = table[i - 1]!
    const [high, highShare] = table[i]!
    if (celsius <= high) return lowShare + ((celsius - low) / (high - low)) * (highShare - lowShare)
  }
  return 1
}
