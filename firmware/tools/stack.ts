import { SluiceError } from '../../api/errors.ts'

/** A function of gcc's `-fcallgraph-info=su` output: its own frame and what it calls. */
interface Routine {
  readonly name: string
  frameBytes: number
  readonly calls: Set<string>
}

export interface StackUse {
  /** Deepest main path, deepest interrupt on top of it, and the frame the processor saves for that, bytes. */
  readonly bytes: number
  readonly mainBytes: number
  readonly interruptBytes: number
  /** The deepest path from main, for people. */
  readonly path: readonly string[]
}

/** Frames of compiler helpers (soft float, division) are not told; the deepest of libgcc is below this. */
const helperBytes = 64
/** Eight words, and one to align them (ARMv7-M architecture reference manual, B1.5.6). */
const exceptionFrameBytes = 36
const indirect = '__indirect_call'

/**
 * The deepest stack of a program, from the call graphs of all its files. A call through a pointer is taken for a call of
 * the deepest function that nobody calls by name (hooks, tables). SLUICE_FW_STACK_UNBOUNDED: recursion, or an array of
 * variable length.
 */
export function stackUse(graphs: readonly string[], roots: { main: string; interrupts: RegExp }): StackUse {
  const routines = parseGraphs(graphs)
  const named = new Set([...routines.values()].flatMap(({ calls }) => [...calls]))
  const hooks = [...routines.keys()].filter(
    (id) => !named.has(id) && id !== roots.main && !roots.interrupts.test(id) && !entryPoints.has(id),
  )
  const deepest = measure(routines, hooks)
  const main = deepest(roots.main)
  const interrupts = [...routines.keys()].filter((id) => roots.interrupts.test(id)).map((id) => deepest(id).bytes)
  const interruptBytes = Math.max(0, ...interrupts)
  const bytes = main.bytes + (interrupts.length > 0 ? interruptBytes + exceptionFrameBytes : 0)
  return { bytes, mainBytes: main.bytes, interruptBytes, path: main.path }
}

/** Entered by the processor, never through a pointer of ours. */
const entryPoints = new Set(['sl_reset_handler', 'sl_unexpected', 'sl_trampoline', 'sl_stage2'])

function parseGraphs(graphs: readonly string[]): Map<string, Routine> {
  const routines = new Map<string, Routine>()
  for (const graph of graphs) {
    for (const [, id = '', label = ''] of graph.matchAll(/^node: \{ title: "([^"]*)" label: "([^"]*)"/gm)) {
      const frame = /(\d+) bytes \(([^)]*)\)/.exec(label)
      if (frame === null) continue
      if (frame[2]?.startsWith('dynamic') && !frame[2].includes('bounded'))
        throw unbounded(`${id} has an array of variable length`)
      routines.set(id, { name: label.split('\\n')[0] ?? id, frameBytes: Number(frame[1]), calls: new Set() })
    }
    for (const [, from = '', to = ''] of graph.matchAll(/^edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"/gm)) {
      routines.get(from)?.calls.add(to)
    }
  }
  return routines
}

interface Depth {
  readonly bytes: number
  readonly path: readonly string[]
}

function measure(routines: ReadonlyMap<string, Routine>, hooks: readonly string[]): (id: string) => Depth {
  const known = new Map<string, Depth>()
  const under = new Set<string>()
  const deepestOf = (ids: Iterable<string>): Depth => {
    let best: Depth = { bytes: 0, path: [] }
    for (const id of ids) {
      const one = depth(id)
      if (one.bytes > best.bytes) best = one
    }
    return best
  }
  const depth = (id: string): Depth => {
    const done = known.get(id)
    if (done !== undefined) return done
    // A hook that itself calls through a pointer: the inner call is one of the hooks that do not.
    if (id === indirect) {
      if (under.has(indirect)) return { bytes: 0, path: [] }
      const hook = entered(id, () => deepestOf(hooks))
      known.set(id, hook)
      return hook
    }
    const routine = routines.get(id)
    if (routine === undefined) return { bytes: helperBytes, path: [id] }
    if (under.has(id)) throw unbounded(`${routine.name} calls itself`)
    const below = entered(id, () => deepestOf(routine.calls))
    const result = { bytes: routine.frameBytes + below.bytes, path: [routine.name, ...below.path] }
    // Inside an indirect call depths are cut short: they hold only there.
    if (!under.has(indirect)) known.set(id, result)
    return result
  }
  const entered = <T>(id: string, work: () => T): T => {
    under.add(id)
    try {
      return work()
    } finally {
      under.delete(id)
    }
  }
  return depth
}

function unbounded(what: string): SluiceError {
  return new SluiceError('SLUICE_FW_STACK_UNBOUNDED', `the stack of this firmware has no bound: ${what}`, {
    hint: 'Use a loop, or an array of fixed size.',
  })
}
