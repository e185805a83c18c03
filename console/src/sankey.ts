/** A flow from the supply over groups to those who take it: widths are watts. */
export interface SankeyNode {
  readonly id: string
  readonly label: string
  readonly value: number
  readonly column: number
  /** The node of the column before that feeds it. */
  readonly from?: string
  readonly tone: number
}

export interface PlacedNode extends SankeyNode {
  readonly x: number
  readonly y: number
  readonly height: number
}

export interface Ribbon {
  readonly id: string
  readonly tone: number
  readonly path: string
}

export interface SankeyShape {
  readonly nodes: readonly PlacedNode[]
  readonly ribbons: readonly Ribbon[]
  readonly height: number
}

export const NODE_WIDTH = 10
const GAP = 8
/** A label has to fit beside even the smallest. */
const LEAST_HEIGHT = 17

/**
 * Places nodes in columns, in the order they come, and draws a ribbon from each to the one that feeds it. Pure; lengths in
 * pixels. What is too small to see is as high as its label, so a column may be higher than its share.
 */
export function sankey(nodes: readonly SankeyNode[], width: number, wantedHeight: number): SankeyShape {
  const columns = Math.max(0, ...nodes.map(({ column }) => column)) + 1
  const total = Math.max(...Array.from({ length: columns }, (_, column) => sum(nodes, column)), 1e-9)
  const scale = wantedHeight / total
  const placed = new Map<string, PlacedNode>()
  let height = 0
  for (let column = 0; column < columns; column++) {
    let y = 0
    for (const node of nodes) {
      if (node.column !== column) continue
      // Beside what feeds it, as far as those above leave room.
      const source = node.from === undefined ? undefined : placed.get(node.from)
      if (column > 1 && source !== undefined) y = Math.max(y, source.y)
      const x = columns === 1 ? 0 : (column * (width - NODE_WIDTH)) / (columns - 1)
      const own = Math.max(LEAST_HEIGHT, node.value * scale)
      placed.set(node.id, { ...node, x, y, height: own })
      y += own + GAP
    }
    height = Math.max(height, y - GAP)
  }
  return { nodes: [...placed.values()], ribbons: ribbonsOf(placed), height }
}

const sum = (nodes: readonly SankeyNode[], column: number): number =>
  nodes.reduce((total, node) => total + (node.column === column ? node.value : 0), 0)

function ribbonsOf(placed: ReadonlyMap<string, PlacedNode>): Ribbon[] {
  const taken = new Map<string, number>()
  const ribbons: Ribbon[] = []
  for (const node of placed.values()) {
    const source = node.from === undefined ? undefined : placed.get(node.from)
    if (source === undefined || source.value <= 0) continue
    const fed = Math.min(node.value, source.value)
    const begin = taken.get(source.id) ?? 0
    const thickness = (fed / source.value) * source.height
    taken.set(source.id, begin + thickness)
    const left = source.x + NODE_WIDTH
    const top = source.y + begin
    const bend = (left + node.x) / 2
    const path =
      `M${px(left)} ${px(top)}C${px(bend)} ${px(top)} ${px(bend)} ${px(node.y)} ${px(node.x)} ${px(node.y)}` +
      `V${px(node.y + node.height)}C${px(bend)} ${px(node.y + node.height)} ${px(bend)} ${px(top + thickness)} ${px(left)} ${px(top + thickness)}Z`
    ribbons.push({ id: node.id, tone: node.tone, path })
  }
  return ribbons
}

const px = (length: number): string => String(Math.round(length * 10) / 10)
