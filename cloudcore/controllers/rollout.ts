/** How a deployment replaces its pods, as numbers: pure. */

export interface SetView {
  readonly name: string
  readonly newest: boolean
  readonly createdAt: string
  /** Pods asked of the set. */
  readonly replicas: number
  /** Pods it has. */
  readonly existing: number
  /** Pods that serve. */
  readonly available: number
}

export interface RolloutPlan {
  readonly wanted: number
  /** Pods above `wanted` at most. */
  readonly surge: number
  /** Pods below `wanted` at most that serve. */
  readonly unavailable: number
  readonly recreate: boolean
}

export interface ScaleStep {
  readonly name: string
  readonly replicas: number
}

/** `25%` or a number, of `total` pods. A surge is rounded up, what may be missing is rounded down. */
export function resolveShare(value: unknown, total: number, round: 'up' | 'down'): number {
  if (typeof value === 'number') return Math.max(0, Math.floor(value))
  const match = /^(\d{1,3})%$/.exec(String(value))
  if (match === null) return 0
  const exact = (Number(match[1]) * total) / 100
  return round === 'up' ? Math.ceil(exact) : Math.floor(exact)
}

/**
 * The next step from what there is. Never asks for more than wanted + surge pods, never takes a serving pod when that
 * would leave fewer than wanted - unavailable of them; repeated while pods become available it ends with the newest alone.
 */
export function planRollout(sets: readonly SetView[], plan: RolloutPlan): ScaleStep[] {
  const newest = sets.find((set) => set.newest)
  const old = sets
    .filter((set) => !set.newest && set.replicas > 0)
    .sort((a, b) => a.createdAt.localeCompare(b.createdAt))
  if (newest === undefined || plan.recreate) {
    const steps = old.map(({ name }) => ({ name, replicas: 0 }))
    if (newest === undefined || steps.length > 0 || newest.replicas === plan.wanted) return steps
    return [{ name: newest.name, replicas: plan.wanted }]
  }
  const total = sets.reduce((sum, { replicas }) => sum + replicas, 0)
  const grown = grow(newest, total, plan)
  return [
    ...(grown === newest.replicas ? [] : [{ name: newest.name, replicas: grown }]),
    ...shrink(old, newest, sets, plan),
  ]
}

function grow(newest: SetView, total: number, { wanted, surge }: RolloutPlan): number {
  if (newest.replicas >= wanted) return wanted
  const room = wanted + surge - total
  return newest.replicas + Math.max(0, Math.min(room, wanted - newest.replicas))
}

function shrink(old: readonly SetView[], newest: SetView, sets: readonly SetView[], plan: RolloutPlan): ScaleStep[] {
  const least = Math.max(0, plan.wanted - plan.unavailable)
  const total = sets.reduce((sum, { replicas }) => sum + replicas, 0)
  let may = total - least - Math.max(0, newest.replicas - newest.available)
  const left = new Map(old.map((set) => [set.name, set.replicas]))
  // Those that do not serve go first: they are missed by nobody.
  for (const set of old) {
    const useless = Math.max(0, Math.min(may, set.replicas - set.available))
    left.set(set.name, set.replicas - useless)
    may -= useless
  }
  const serving = sets.reduce((sum, { available, replicas }) => sum + Math.min(available, replicas), 0)
  let spare = Math.min(may, serving - least)
  for (const set of old) {
    const held = left.get(set.name) ?? 0
    const taken = Math.max(0, Math.min(spare, held))
    left.set(set.name, held - taken)
    spare -= taken
  }
  return old.flatMap(({ name, replicas }) => {
    const now = left.get(name) ?? replicas
    return now === replicas ? [] : [{ name, replicas: now }]
  })
}
