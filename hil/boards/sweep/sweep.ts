import { parseImage } from '../../../firmware/tools/image.ts'
import { seededRandom } from '../../random.ts'
import { type FlashChange, type Running, running, type SweepBoard, tunnelOf } from './board.ts'

/** Version 1.n.0 of the test application, signed, for one slot. */
export interface SweepImage {
  readonly minor: number
  readonly slot: 0 | 1
  readonly bytes: Uint8Array
}

/** Slot A from the factory, and what it is brought to: B, A again, and a B that is only ever on trial. */
export interface SweepImages {
  readonly factory: SweepImage
  readonly second: SweepImage
  readonly third: SweepImage
  readonly trial: SweepImage
}

interface Phase {
  readonly name: string
  /** Versions that may run at any moment of it. */
  readonly allowed: readonly number[]
  /** What is done before, without a cut. */
  prepare?(board: SweepBoard): Promise<void>
  /** From wherever the board stands to the end of the phase. */
  run(board: SweepBoard): Promise<void>
  /** What runs at the end. */
  readonly ends: Omit<Running, 'attempts'>
}

export interface SweepOptions {
  /** Every so manyth operation; 1: all. */
  readonly step: number
  /** How often each operation is torn, each time otherwise. */
  readonly seeds: number
  /** After every so manyth cut the phase is brought to its end, too; after the others a whole image has to start. 1: all. */
  readonly finish: number
  /** Names of phases; undefined: all. */
  readonly only?: readonly string[]
  readonly onPhase?: (done: SweepResult) => void
}

export interface SweepResult {
  readonly phase: string
  readonly operations: number
  readonly cuts: number
  /** How many of them went on to the end of the phase. */
  readonly finished: number
}

const PENDING = 1
const CONFIRMED = 2
const ROUNDS = 10

async function up(board: SweepBoard): Promise<Running> {
  const now = await running(board)
  if (now === undefined) throw new Error('the board does not come up')
  return now
}

async function restart(board: SweepBoard): Promise<void> {
  await board.restarted(() => tunnelOf(board).reset())
}

async function send(board: SweepBoard, { bytes }: SweepImage): Promise<void> {
  await tunnelOf(board).upload(bytes)
  await tunnelOf(board).test(parseImage(bytes).digest)
}

/** Brings an image to the board and confirms it, as a gateway does that begins anew after every cut. */
async function install(board: SweepBoard, image: SweepImage): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const { minor } = await up(board)
    if (minor !== image.minor) {
      await send(board, image)
      await restart(board)
      continue
    }
    await tunnelOf(board).confirm()
    await restart(board)
    const after = await up(board)
    if (after.minor === minor && after.mark === CONFIRMED) return
  }
  throw new Error('the update does not end')
}

/** Back to the version before. */
async function goBack(board: SweepBoard, to: number): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    if ((await up(board)).minor === to) return
    await tunnelOf(board).revert()
    await restart(board)
  }
  throw new Error('the board does not go back')
}

/** Starts that nobody confirms, until the image before runs again. */
async function runOut(board: SweepBoard, to: number): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const { minor, mark } = await up(board)
    const other = (await tunnelOf(board).images()).find(({ active }) => !active)
    if (minor === to && (other?.attempts ?? 0) > 0) return
    if (minor !== to && mark !== PENDING) throw new Error('an image on trial runs as if it were confirmed')
    await restart(board)
  }
  throw new Error('the trial does not end')
}

function phasesOf({ factory, second, third, trial }: SweepImages): readonly Phase[] {
  return [
    {
      name: 'update',
      allowed: [factory.minor, second.minor],
      run: (board) => install(board, second),
      ends: { minor: second.minor, slot: 1, mark: CONFIRMED },
    },
    {
      name: 'newer',
      allowed: [second.minor, third.minor],
      run: (board) => install(board, third),
      ends: { minor: third.minor, slot: 0, mark: CONFIRMED },
    },
    {
      name: 'back',
      allowed: [second.minor, third.minor],
      run: (board) => goBack(board, second.minor),
      ends: { minor: second.minor, slot: 1, mark: CONFIRMED },
    },
    {
      name: 'forth',
      allowed: [second.minor, third.minor],
      run: (board) => goBack(board, third.minor),
      ends: { minor: third.minor, slot: 0, mark: CONFIRMED },
    },
    {
      name: 'trial-runs-out',
      allowed: [third.minor, trial.minor],
      prepare: (board) => send(board, trial),
      run: (board) => runOut(board, third.minor),
      ends: { minor: third.minor, slot: 0, mark: CONFIRMED },
    },
    {
      name: 'trial-taken-back',
      allowed: [third.minor, trial.minor],
      prepare: async (board) => {
        await send(board, trial)
        await restart(board)
        await up(board)
      },
      run: (board) => goBack(board, third.minor),
      ends: { minor: third.minor, slot: 0, mark: CONFIRMED },
    },
  ]
}

/**
 * Cuts the power at every flash operation of every phase in the life of a board and looks whether each next boot starts a
 * whole image, and whether the phase can then be ended as if nothing had been. A board without power is its flash: each phase is
 * run once and its operations are written down, and every cut begins from the flash that they leave.
 */
export async function sweep(board: SweepBoard, factory: Uint8Array, images: SweepImages, options: SweepOptions) {
  const results: SweepResult[] = []
  let start = factory
  for (const phase of phasesOf(images)) {
    await board.powerOn(start)
    await up(board)
    await phase.prepare?.(board)
    start = await board.flash()
    await board.powerOn(start)
    const changes = await board.record(() => phase.run(board))
    await holds(board, phase)
    const end = await board.flash()
    const replayed = Uint8Array.from(start)
    for (const change of changes) apply(replayed, change)
    if (Buffer.compare(replayed, end) !== 0) throw new Error(`${phase.name}: some changes of the flash were not seen`)
    if (changes.length === 0) throw new Error(`${phase.name}: no change of the flash was seen`)
    const wanted = options.only === undefined || options.only.includes(phase.name)
    const done = wanted ? await cutAll(board, phase, start, changes, options) : { cuts: 0, finished: 0 }
    const result = { phase: phase.name, operations: changes.length, ...done }
    results.push(result)
    options.onPhase?.(result)
    start = end
  }
  return results
}

async function holds(board: SweepBoard, { name, ends }: Phase): Promise<void> {
  const now = await up(board)
  const { minor, slot, mark } = now
  if (minor !== ends.minor || slot !== ends.slot || mark !== ends.mark)
    throw new Error(`${name} ended with ${JSON.stringify(now)} instead of ${JSON.stringify(ends)}`)
}

async function cutAll(
  board: SweepBoard,
  phase: Phase,
  start: Uint8Array,
  changes: readonly FlashChange[],
  { step, seeds, finish }: SweepOptions,
): Promise<Pick<SweepResult, 'cuts' | 'finished'>> {
  const before = Uint8Array.from(start)
  let [cuts, finished] = [0, 0]
  for (const [at, change] of changes.entries()) {
    // The last ones decide, and are few: none of them is left out.
    if (at % step === 0 || at >= changes.length - 8) {
      for (let seed = 0; seed < seeds; seed++) {
        const torn = Uint8Array.from(before)
        tear(torn, change, seededRandom(1 + at * 7919 + seed * 104_729))
        const toTheEnd = cuts % finish === 0
        await afterCut(board, phase, torn, toTheEnd).catch((error: unknown) => {
          const where = `${phase.name}: cut at operation ${at + 1} of ${changes.length}, seed ${seed}`
          throw new Error(`${where}: ${error instanceof Error ? error.message : String(error)}`)
        })
        cuts++
        if (toTheEnd) finished++
      }
    }
    apply(before, change)
  }
  return { cuts, finished }
}

async function afterCut(board: SweepBoard, phase: Phase, flash: Uint8Array, toTheEnd: boolean): Promise<void> {
  await board.powerOn(flash)
  const { minor } = await up(board)
  if (!phase.allowed.includes(minor)) throw new Error(`version 1.${minor} was started`)
  if (!toTheEnd) return
  await phase.run(board)
  await holds(board, phase)
}

function apply(flash: Uint8Array, { kind, offset, size, bytes }: FlashChange): void {
  if (kind === 'erase') flash.fill(0xff, offset, offset + size)
  else for (let at = 0; at < size; at++) flash[offset + at]! &= bytes[at]!
}

/** What a change leaves that the power was taken from, as parts do it: nothing, some of it, or rubbish where it erased. */
function tear(flash: Uint8Array, { kind, offset, size, bytes }: FlashChange, random: () => number): void {
  const noise = () => Math.floor(random() * 256)
  if (kind === 'erase') {
    const how = Math.floor(random() * 5)
    for (let at = offset; at < offset + size; at++) {
      if (how === 1) flash[at]! |= noise()
      else if (how === 2) flash[at]! |= noise() & noise()
      else if (how === 3) flash[at] = noise()
      else if (how === 4) flash[at] = 0
    }
    return
  }
  const whole = random() < 0.5 ? 0 : Math.floor((random() * size) / 4) * 4
  const torn = random() < 0.5 ? size : Math.min(size, whole + 4)
  for (let at = 0; at < whole; at++) flash[offset + at]! &= bytes[at]!
  for (let at = whole; at < torn; at++) flash[offset + at]! &= bytes[at]! | noise()
}
